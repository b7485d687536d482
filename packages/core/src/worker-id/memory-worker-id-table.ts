import type { Clock } from '../runtime/clock.ts'
import type {
  ClaimRequest,
  LeaseTerms,
  RenewReply,
  RenewRequest,
  WindowReply,
  WorkerHolder,
  WorkerIdReply,
  WorkerIdRequest,
} from './worker-id-driver.ts'

interface Entry {
  /** Empty once released. */
  token: string
  readonly ownerKey: string
  readonly sinceMs: number
  floorMs: number
  ceilingMs: number
  untilMs: number
  /** From when on others may have it, when it is not released; and the first timestamp of their window. */
  freeAtMs: number
  nextFloorMs: number
}

/** Who has which id of one cluster name within this process. Loses nothing, so it needs no waiting at its start. */
export class MemoryWorkerIdTable {
  readonly #clock: Clock
  readonly #entries = new Map<number, Entry>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  acquire(request: WorkerIdRequest): WorkerIdReply {
    const nowMs = this.#clock.wallMs()
    if (Math.abs(request.nowMs - nowMs) > request.terms.maxSkewMs) {
      return { status: 'skewed', backendMs: nowMs }
    }
    const id = this.#idOf(request.token) ?? this.#choose(request, nowMs)
    if (id === undefined) {
      const firstMs = Math.min(...this.#ids(request).map((each) => this.#freeAtMs(each, request.terms)))
      return { status: 'exhausted', retryAfterMs: Math.max(1, firstMs - nowMs) }
    }
    const before = this.#entries.get(id)
    const isRepeated = before?.token === request.token
    const entry: Entry = {
      token: request.token,
      ownerKey: request.ownerKey,
      sinceMs: isRepeated ? before.sinceMs : nowMs,
      floorMs: isRepeated ? before.floorMs : this.#nextFloorMs(id),
      ceilingMs: isRepeated ? before.ceilingMs : 0,
      untilMs: 0,
      freeAtMs: 0,
      nextFloorMs: 0,
    }
    this.#entries.set(id, entry)
    return { status: 'granted', id, ...this.#grow(entry, request, entry.floorMs, nowMs) }
  }

  renew(request: RenewRequest): RenewReply {
    const entry = this.#entries.get(request.id)
    if (entry?.token !== request.token) return { status: 'lost' }
    return { status: 'renewed', ...this.#grow(entry, request, request.usedMs, this.#clock.wallMs()) }
  }

  release({ id, token, usedMs }: { id: number; token: string; usedMs: number }): 'released' | 'not-owner' {
    const entry = this.#entries.get(id)
    if (entry?.token !== token) return 'not-owner'
    const nowMs = this.#clock.wallMs()
    Object.assign(entry, { token: '', untilMs: nowMs, freeAtMs: nowMs, nextFloorMs: usedMs + 1 })
    return 'released'
  }

  holders(): WorkerHolder[] {
    const nowMs = this.#clock.wallMs()
    return [...this.#entries]
      .filter(([, { token, freeAtMs }]) => token !== '' && freeAtMs > nowMs)
      .sort(([a], [b]) => a - b)
      .map(([id, { ownerKey, sinceMs, untilMs, freeAtMs }]) => {
        const isHeld = untilMs > nowMs
        const state = isHeld ? 'held' : 'quarantined'
        return { id, ownerKey, state, sinceMs, untilMs: isHeld ? untilMs : freeAtMs }
      })
  }

  #idOf(token: string): number | undefined {
    return [...this.#entries].find(([, entry]) => entry.token === token)?.[0]
  }

  #choose(request: WorkerIdRequest, nowMs: number): number | undefined {
    const free = this.#ids(request).filter((id) => this.#freeAtMs(id, request.terms) <= nowMs)
    const owned = free.find((id) => this.#entries.get(id)?.ownerKey === request.ownerKey)
    if (owned !== undefined) return owned
    if (request.prefer !== undefined && free.includes(request.prefer)) return request.prefer
    const neverUsed = free.find((id) => !this.#entries.has(id))
    if (neverUsed !== undefined) return neverUsed
    const freeSince = (id: number): number => this.#entries.get(id)?.freeAtMs ?? 0
    return free.sort((a, b) => freeSince(a) - freeSince(b))[0]
  }

  #ids({ range }: WorkerIdRequest): number[] {
    return Array.from({ length: range }, (_, id) => id)
  }

  #freeAtMs(id: number, { maxAheadMs }: LeaseTerms): number {
    return Math.max(this.#entries.get(id)?.freeAtMs ?? 0, this.#nextFloorMs(id) - maxAheadMs)
  }

  #nextFloorMs(id: number): number {
    return this.#entries.get(id)?.nextFloorMs ?? 1
  }

  /** Starts the lease anew, with a ceiling that is a lease above what is in use, and never too far above the clock. */
  #grow(entry: Entry, { terms, nowMs: clientMs }: ClaimRequest, usedMs: number, nowMs: number): WindowReply {
    const reachMs = terms.leaseMs + terms.maxAheadMs
    const wantedMs = Math.max(usedMs, clientMs) + terms.leaseMs
    entry.ceilingMs = Math.max(entry.ceilingMs, Math.min(wantedMs, nowMs + reachMs))
    entry.untilMs = nowMs + terms.leaseMs
    entry.freeAtMs = entry.untilMs + terms.quarantineMs
    entry.nextFloorMs = entry.ceilingMs + terms.quarantineMs + 1
    const { floorMs, ceilingMs, untilMs } = entry
    return { floorMs, ceilingMs, untilMs, backendMs: nowMs }
  }
}

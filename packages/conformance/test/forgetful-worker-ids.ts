import {
  type LeaseTerms,
  MultinodeError,
  type RenewReply,
  type RenewRequest,
  type WindowReply,
  type WorkerHolder,
  type WorkerIdDriver,
  type WorkerIdPlugin,
  type WorkerIdReply,
  type WorkerIdRequest,
} from '@multinode/core'
import { memoryWorkerIds } from '@multinode/core/testing'
import type { WorkerIdFaults } from '../src/index.ts'

/** Worker ids as on a server that can forget them: the least code that shows every behaviour of the suite. */
export class ForgetfulWorkerIds {
  readonly #tables = new Map<string, ForgetfulTable>()
  readonly faults: WorkerIdFaults = {
    loseState: async () => {
      for (const table of this.#tables.values()) table.forget()
    },
  }

  plugin(): WorkerIdPlugin {
    return {
      ...memoryWorkerIds,
      backend: 'forgetful',
      create: async ({ node }) => {
        const table = this.#tables.get(node.clusterName) ?? new ForgetfulTable()
        this.#tables.set(node.clusterName, table)
        return {
          features: { scope: 'process' },
          address: null,
          native: null,
          acquire: async (request) => table.acquire(request),
          renew: async (request) => table.renew(request),
          release: async (request) => table.release(request),
          holders: async () => table.holders(),
          ping: async () => {},
          close: async () => {},
        }
      },
    }
  }
}

/** A server that can fall silent before the drivers of `plugin`. */
export class SilentServer {
  readonly #plugin: WorkerIdPlugin
  #isSilent = false

  constructor(plugin: WorkerIdPlugin) {
    this.#plugin = plugin
  }

  readonly freeze = async (): Promise<() => Promise<void>> => {
    this.#isSilent = true
    return async () => {
      this.#isSilent = false
    }
  }

  plugin(): WorkerIdPlugin {
    return { ...this.#plugin, create: async (context) => this.#before(await this.#plugin.create(context)) }
  }

  #before(driver: WorkerIdDriver): WorkerIdDriver {
    const say = <T>(timeoutMs: number, work: () => Promise<T>): Promise<T> =>
      this.#isSilent ? silence(timeoutMs) : work()
    return {
      features: driver.features,
      address: driver.address,
      native: driver.native,
      acquire: (request, timeoutMs) => say(timeoutMs, () => driver.acquire(request, timeoutMs)),
      renew: (request, timeoutMs) => say(timeoutMs, () => driver.renew(request, timeoutMs)),
      release: (request, timeoutMs) => say(timeoutMs, () => driver.release(request, timeoutMs)),
      holders: (timeoutMs) => say(timeoutMs, () => driver.holders(timeoutMs)),
      ping: (timeoutMs) => say(timeoutMs, () => driver.ping(timeoutMs)),
      close: () => driver.close(),
    }
  }
}

function silence(timeoutMs: number): Promise<never> {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new MultinodeError('TIMEOUT', 'silent', { outcome: 'unknown' })), timeoutMs)
  })
}

interface Entry {
  /** Empty once released. */
  token: string
  ownerKey: string
  sinceMs: number
  floorMs: number
  ceilingMs: number
  untilMs: number
  freeAtMs: number
  nextFloorMs: number
}

class ForgetfulTable {
  readonly #entries = new Map<number, Entry>()
  /** Where new windows begin at the lowest; unknown until somebody asks. */
  #fromMs: number | undefined

  forget(): void {
    this.#entries.clear()
    this.#fromMs = undefined
  }

  acquire(request: WorkerIdRequest): WorkerIdReply {
    const { token, ownerKey, range, prefer, terms, isFirstStart } = request
    const backendMs = Date.now()
    if (Math.abs(request.nowMs - backendMs) > terms.maxSkewMs) return { status: 'skewed', backendMs }
    const fromMs = this.#open(terms, backendMs, isFirstStart)
    const ids = Array.from({ length: range }, (_, id) => id)
    const repeated = ids.find((id) => this.#entries.get(id)?.token === token)
    const entry = repeated === undefined ? undefined : this.#entries.get(repeated)
    if (repeated !== undefined && entry !== undefined) {
      return { status: 'granted', id: repeated, ...grow(entry, request, entry.floorMs, backendMs) }
    }
    const floorOf = (id: number): number => Math.max(fromMs, this.#entries.get(id)?.nextFloorMs ?? 0)
    const freeAtOf = (id: number): number =>
      Math.max(this.#entries.get(id)?.freeAtMs ?? 0, floorOf(id) - terms.maxAheadMs)
    const free = ids.filter((id) => freeAtOf(id) <= backendMs).sort((a, b) => freeAtOf(a) - freeAtOf(b))
    const id =
      free.find((each) => this.#entries.get(each)?.ownerKey === ownerKey) ??
      free.find((each) => each === prefer) ??
      ids.find((each) => free.includes(each) && !this.#entries.has(each)) ??
      free[0]
    if (id === undefined) {
      return { status: 'exhausted', retryAfterMs: Math.max(1, Math.min(...ids.map(freeAtOf)) - backendMs) }
    }
    const fresh = newEntry({ token, ownerKey, sinceMs: backendMs, floorMs: floorOf(id), ceilingMs: 0 })
    this.#entries.set(id, fresh)
    return { status: 'granted', id, ...grow(fresh, request, fresh.floorMs, backendMs) }
  }

  renew(request: RenewRequest): RenewReply {
    const { id, token, ownerKey, terms, window, usedMs } = request
    const backendMs = Date.now()
    const fromMs = this.#open(terms, backendMs, false)
    let entry = this.#entries.get(id)
    if (entry === undefined) {
      const hasClaim = backendMs <= window.untilMs
      const waitMs = fromMs - terms.maxAheadMs - backendMs
      if (!hasClaim && waitMs > 0) return { status: 'later', retryAfterMs: waitMs }
      const { floorMs, ceilingMs } = hasClaim ? window : { floorMs: fromMs, ceilingMs: 0 }
      entry = newEntry({ token, ownerKey, sinceMs: backendMs, floorMs, ceilingMs })
      this.#entries.set(id, entry)
    }
    if (entry.token !== token) return { status: 'lost' }
    return { status: 'renewed', ...grow(entry, request, Math.max(usedMs, entry.floorMs), backendMs) }
  }

  release({ id, token, usedMs }: Parameters<WorkerIdDriver['release']>[0]): 'released' | 'not-owner' {
    const entry = this.#entries.get(id)
    if (entry?.token !== token) return 'not-owner'
    const nowMs = Date.now()
    Object.assign(entry, { token: '', untilMs: nowMs, freeAtMs: nowMs, nextFloorMs: usedMs + 1 })
    return 'released'
  }

  holders(): WorkerHolder[] {
    const nowMs = Date.now()
    return [...this.#entries]
      .filter(([, { token, freeAtMs }]) => token !== '' && freeAtMs > nowMs)
      .sort(([a], [b]) => a - b)
      .map(([id, { ownerKey, sinceMs, untilMs, freeAtMs }]) =>
        untilMs > nowMs
          ? { id, ownerKey, state: 'held', sinceMs, untilMs }
          : { id, ownerKey, state: 'quarantined', sinceMs, untilMs: freeAtMs },
      )
  }

  #open({ leaseMs, maxAheadMs, maxSkewMs }: LeaseTerms, nowMs: number, isFirstStart: boolean): number {
    this.#fromMs ??= isFirstStart ? 0 : nowMs + leaseMs + maxAheadMs + maxSkewMs + 1
    return this.#fromMs
  }
}

function newEntry(known: Pick<Entry, 'token' | 'ownerKey' | 'sinceMs' | 'floorMs' | 'ceilingMs'>): Entry {
  return { ...known, untilMs: 0, freeAtMs: 0, nextFloorMs: 0 }
}

function grow(
  entry: Entry,
  { terms, nowMs }: Pick<WorkerIdRequest, 'terms' | 'nowMs'>,
  usedMs: number,
  backendMs: number,
): WindowReply {
  const highestMs = backendMs + terms.leaseMs + terms.maxAheadMs
  const wantedMs = Math.max(usedMs, nowMs) + terms.leaseMs
  entry.ceilingMs = Math.max(entry.ceilingMs, Math.min(wantedMs, highestMs))
  entry.untilMs = backendMs + terms.leaseMs
  entry.freeAtMs = entry.untilMs + terms.quarantineMs
  entry.nextFloorMs = entry.ceilingMs + terms.quarantineMs + 1
  const { floorMs, ceilingMs, untilMs } = entry
  return { floorMs, ceilingMs, untilMs, backendMs }
}

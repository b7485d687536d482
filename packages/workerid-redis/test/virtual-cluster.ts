import type { LeaseTerms, RenewRequest, WindowReply } from '@multinode/core'
import type { SeededRandom } from '@multinode/testbed'
import type { VirtualServer, VirtualTable } from './virtual-table.ts'

const maxSkewMs = 20
const range = 3

interface Held {
  readonly id: number
  readonly token: string
  window: WindowReply
  usedMs: number
}

interface VirtualNode {
  readonly ownerKey: string
  readonly offsetMs: number
  held: Held | undefined
  /** A renewal that was sent and not carried out yet. */
  pending: RenewRequest | undefined
}

/** A few nodes and a server, whose clocks differ by as much as is allowed; one random event a step. */
export class VirtualCluster {
  readonly seen = {
    duplicates: 0,
    uses: 0,
    grants: 0,
    refusals: 0,
    renewals: 0,
    newWindows: 0,
    waits: 0,
    losses: 0,
    releases: 0,
    crashes: 0,
    flatOuts: 0,
    lateRequests: 0,
    flushes: 0,
    restarts: 0,
    failovers: 0,
  }
  readonly #table: VirtualTable
  readonly #random: SeededRandom
  readonly #terms: LeaseTerms
  readonly #nodes: VirtualNode[]
  /** By id and timestamp: whose it is. */
  readonly #used = new Map<string, string>()
  /** Requests whose sender does not wait for the answer any more. */
  readonly #late: (() => Promise<unknown>)[] = []
  readonly #snapshots: string[] = []
  #nowMs = 1_000_000
  #server: VirtualServer & { readonly offsetMs: number }
  #count = 0

  constructor(table: VirtualTable, random: SeededRandom) {
    this.#table = table
    this.#random = random
    // Also shorter than clocks may differ.
    const quarantineMs = [0, 10, 50][random.between(0, 2)] ?? 0
    this.#terms = { leaseMs: 100, quarantineMs, maxSkewMs, maxAheadMs: 30 }
    this.#server = { clockMs: 0, history: 'f0', offsetMs: this.#offset() }
    this.#nodes = Array.from({ length: 5 }, (_, index) => ({
      ownerKey: `node-${index}`,
      offsetMs: this.#offset(),
      held: undefined,
      pending: undefined,
    }))
  }

  async step(): Promise<void> {
    this.#nowMs +=
      this.#random.between(0, 9) === 0 ? this.#random.between(50, 400) : this.#random.between(0, 20)
    const dice = this.#random.between(1, 100)
    if (dice <= 4) return this.#hurtServer()
    if (dice <= 8) return this.#arriveLate()
    if (dice <= 12) return this.#keep()
    const node = this.#nodes[this.#random.between(0, this.#nodes.length - 1)]
    if (node === undefined) return
    if (node.held === undefined) return this.#acquire(node)
    if (node.pending !== undefined && dice <= 60) return this.#carryOut(node, node.held, node.pending)
    if (dice <= 40) return this.#sendRenewal(node, node.held)
    if (dice <= 46) return this.#release(node, node.held)
    if (dice <= 49) return this.#crash(node)
    if (dice <= 53) return this.#runFlatOut(node)
    this.#use(node.held)
  }

  async #hurtServer(): Promise<void> {
    const event = this.#random.between(1, 3)
    if (event === 1) {
      this.seen.flushes += 1
      return this.#table.forget()
    }
    this.#count += 1
    this.#server = { ...this.#server, history: this.#count.toString(16), offsetMs: this.#offset() }
    if (event === 2) {
      this.seen.restarts += 1
      return
    }
    this.seen.failovers += 1
    const stale = this.#snapshots[this.#random.between(0, Math.max(0, this.#snapshots.length - 1))]
    if (stale !== undefined) await this.#table.bringBack(stale)
  }

  async #keep(): Promise<void> {
    this.#snapshots.push(await this.#table.keep())
    if (this.#snapshots.length > 4) this.#snapshots.shift()
  }

  async #acquire(node: VirtualNode): Promise<void> {
    this.#count += 1
    const request = {
      token: (this.#count + 0x1000).toString(16),
      ownerKey: node.ownerKey,
      range,
      terms: this.#terms,
      nowMs: this.#nowMs + node.offsetMs,
      isFirstStart: false,
    }
    if (this.#random.between(0, 9) === 0)
      this.#late.push(() => this.#table.acquire(request, this.#serverNow()))
    const granted = await this.#table.acquire(request, this.#serverNow())
    if (granted === undefined) {
      this.seen.refusals += 1
      return
    }
    this.seen.grants += 1
    const { id, window } = granted
    node.held = { id, token: request.token, window, usedMs: window.floorMs - 1 }
  }

  async #sendRenewal(node: VirtualNode, held: Held): Promise<void> {
    const before = node.pending
    // Given up: it may still arrive.
    if (before !== undefined) this.#late.push(() => this.#table.renew(before, this.#serverNow()))
    const { id, token, usedMs, window } = held
    const nowMs = this.#nowMs + node.offsetMs
    node.pending = { id, token, ownerKey: node.ownerKey, terms: this.#terms, usedMs, window, nowMs }
  }

  async #carryOut(node: VirtualNode, held: Held, request: RenewRequest): Promise<void> {
    node.pending = undefined
    const reply = await this.#table.renew(request, this.#serverNow())
    const isAnswerLost = this.#random.between(0, 4) === 0
    if (isAnswerLost) return
    if (reply.status === 'lost') {
      this.seen.losses += 1
      node.held = undefined
    } else if (reply.status === 'later') {
      this.seen.waits += 1
    } else {
      this.seen.renewals += 1
      if (reply.floorMs !== held.window.floorMs) this.seen.newWindows += 1
      held.window = reply
      held.usedMs = Math.max(held.usedMs, reply.floorMs - 1)
    }
  }

  async #release(node: VirtualNode, { id, token, usedMs }: Held): Promise<void> {
    this.seen.releases += 1
    const { pending } = node
    if (pending !== undefined) this.#late.push(() => this.#table.renew(pending, this.#serverNow()))
    node.held = undefined
    node.pending = undefined
    const release = (): Promise<void> => this.#table.release(id, token, usedMs, this.#serverNow())
    if (this.#random.between(0, 3) === 0) this.#late.push(release)
    else await release()
  }

  /** Uses up its window and renews, again and again: so it gets as far ahead of the clock as it may. */
  async #runFlatOut(node: VirtualNode): Promise<void> {
    this.seen.flatOuts += 1
    for (let round = 0; round < 5 && node.held !== undefined; round += 1) {
      this.#use(node.held)
      await this.#sendRenewal(node, node.held)
      if (node.pending !== undefined) await this.#carryOut(node, node.held, node.pending)
    }
  }

  #crash(node: VirtualNode): void {
    this.seen.crashes += 1
    node.held = undefined
    node.pending = undefined
  }

  async #arriveLate(): Promise<void> {
    const [request] = this.#late.splice(this.#random.between(0, Math.max(0, this.#late.length - 1)), 1)
    if (request === undefined) return
    this.seen.lateRequests += 1
    await request()
  }

  /** Any timestamps of the window, however late it is: the last ones more often, because these are the dangerous ones. */
  #use(held: Held): void {
    const { id, token, window } = held
    const { floorMs, ceilingMs } = window
    for (let count = 0; count < 10 && floorMs <= ceilingMs; count += 1) {
      const isLast = this.#random.between(0, 2) === 0
      const timestampMs = isLast
        ? ceilingMs - this.#random.between(0, 3)
        : this.#random.between(floorMs, ceilingMs)
      if (timestampMs < floorMs) continue
      this.seen.uses += 1
      const key = `${id} ${timestampMs}`
      const owner = this.#used.get(key)
      if (owner !== undefined && owner !== token) this.seen.duplicates += 1
      this.#used.set(key, token)
      held.usedMs = Math.max(held.usedMs, timestampMs)
    }
  }

  #serverNow(): VirtualServer {
    return { history: this.#server.history, clockMs: this.#nowMs + this.#server.offsetMs }
  }

  #offset(): number {
    const most = maxSkewMs / 2
    return this.#random.between(-most, most)
  }
}

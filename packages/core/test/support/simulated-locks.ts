import { isMultinodeError, type Lease, Locks } from '../../src/index.ts'
import { validityMs } from '../../src/lock/lease.ts'
import { capabilityContext } from '../../src/testing/index.ts'
import { SeededRandom } from './seeded-random.ts'
import { type ServerFlaw, SimulatedLockServer } from './simulated-lock-server.ts'
import { SimulatedProcess, SimulatedWorld } from './simulated-world.ts'

/** `deadline from the reply`: of a client that counts its lease from the answer, not from the request. */
export type Flaw = ServerFlaw | 'deadline from the reply'

export interface SimulationResult {
  /** The first thing that must not have happened, if any. */
  readonly violations: readonly string[]
  /** How many leases were given to nodes. */
  readonly leases: number
}

interface SimulatedNode {
  readonly process: SimulatedProcess
  readonly locks: Locks
  isClosed: boolean
}

interface Holding {
  readonly key: string
  readonly isHeld: () => boolean
  isGivenBack: boolean
}

/** No new work begins after this. */
const horizonMs = 1_500
const callTimeoutMs = 400
/** Longer than any lease, wait, tombstone or message lasts. */
const afterwardsMs = 120_000
const keys = ['a', 'b']

/** One world, in which all that happens follows from the seed. */
export async function simulate(seed: number, flaw?: Flaw): Promise<SimulationResult> {
  const simulation = new Simulation(new SeededRandom(seed), flaw)
  // oxlint-disable-next-line typescript/unbound-method -- put back below
  const [{ random }, { stackTraceLimit }] = [Math, Error]
  // The jitter of core is a part of what follows from the seed.
  Math.random = simulation.world.random.next
  // Most of the time went into stacks that nobody reads.
  Error.stackTraceLimit = 0
  try {
    await simulation.run()
  } finally {
    Math.random = random
    Error.stackTraceLimit = stackTraceLimit
  }
  return { violations: simulation.world.violations, leases: simulation.leases }
}

class Simulation {
  readonly world: SimulatedWorld
  leases = 0
  readonly #random: SeededRandom
  readonly #countsFromReply: boolean
  readonly #server: SimulatedLockServer
  readonly #nodes: SimulatedNode[]
  /** Exclusion is not promised by a server that forgets what it granted. */
  readonly #isForgetful: boolean
  readonly #holdings = new Set<Holding>()
  readonly #seenTokens = new Map<string, number>()
  #waiting = 0

  constructor(random: SeededRandom, flaw?: Flaw) {
    this.#random = random
    this.#countsFromReply = flaw === 'deadline from the reply'
    this.world = new SimulatedWorld(random)
    this.#server = new SimulatedLockServer(this.world, flaw === 'deadline from the reply' ? undefined : flaw)
    this.#isForgetful = random.chance(0.2)
    const pushes = random.chance(0.8)
    this.#nodes = Array.from({ length: random.whole(2, 4) }, () => this.#node(pushes))
  }

  async run(): Promise<void> {
    const { world } = this
    for (const node of this.#nodes) {
      const users = this.#random.whole(1, 3)
      for (let user = 0; user < users; user += 1) void this.#use(node)
      this.#disturb(node.process)
      if (this.#random.chance(0.1)) this.#closeLater(node)
    }
    if (this.#random.chance(0.3)) this.#disturb(this.#server.process)
    if (this.#isForgetful) this.#forgetLater()
    world.after(horizonMs, this.#server.process, () => this.#server.calm())
    await world.run(() => this.#look())
    if (world.violations.length > 0) return
    if (this.#waiting > 0) world.violations.push(`${this.#waiting} acquisitions never settled`)
    world.after(afterwardsMs, this.#server.process, () => this.#lookAtTheEnd())
    await world.run(() => {})
  }

  #node(pushes: boolean): SimulatedNode {
    // Each clock within 1 % of the server's.
    const process = new SimulatedProcess(this.world, {
      rate: this.#random.between(0.99, 1.01),
      wallMs: Date.UTC(2026, 0, 1) + this.#random.between(-3_000, 3_000),
    })
    const { clock } = process
    // A release that the network swallowed is reported, and is nothing wrong here.
    const context = capabilityContext('lock', 'simulated', { clock, callTimeoutMs, report: () => {} })
    return { process, locks: new Locks(this.#server.driver(process, { pushes }), context), isClosed: false }
  }

  /** What happens to a process from time to time. */
  #disturb(process: SimulatedProcess): void {
    for (let pauses = this.#random.whole(0, 2); pauses > 0; pauses -= 1) {
      const ms = this.#random.between(5, this.#random.chance(0.3) ? 1_000 : 150)
      this.world.after(this.#random.between(0, horizonMs), process, () => process.pause(ms))
    }
    if (!this.#random.chance(0.2)) return
    const jumpMs = this.#random.between(-3_600_000, 3_600_000)
    if (process !== this.#server.process) {
      this.world.after(this.#random.between(0, horizonMs), process, () => process.jumpWallClock(jumpMs))
    }
  }

  #closeLater(node: SimulatedNode): void {
    this.world.after(this.#random.between(horizonMs / 2, horizonMs), node.process, () => {
      node.isClosed = true
      void node.locks.close()
    })
  }

  #forgetLater(): void {
    for (let times = this.#random.whole(1, 3); times > 0; times -= 1) {
      this.world.after(this.#random.between(0, horizonMs), this.#server.process, () => this.#server.forget())
    }
  }

  /** One user of a node: one lock after the other. */
  async #use(node: SimulatedNode): Promise<void> {
    while (this.world.nowMs < horizonMs && !node.isClosed) {
      await node.process.sleep(this.#random.between(0, 40))
      const key = keys[this.#random.chance(0.8) ? 0 : 1] ?? ''
      const ttlMs = Math.ceil(this.#random.between(10, this.#random.chance(0.3) ? 60 : 500))
      const kind = this.#random.next()
      if (kind < 0.15) await this.#tryAcquire(node, key, ttlMs)
      else if (kind < 0.5) await this.#run(node, key, ttlMs)
      else await this.#acquire(node, key, ttlMs)
    }
  }

  async #tryAcquire(node: SimulatedNode, key: string, ttlMs: number): Promise<void> {
    const lease = await this.#settles(node, 0, () => node.locks.tryAcquire(key, { ttlMs }))
    if (lease) await this.#hold(node, lease)
  }

  async #acquire(node: SimulatedNode, key: string, ttlMs: number): Promise<void> {
    const waitMs = Math.floor(this.#random.between(0, 1_500))
    const abort = new AbortController()
    const { clock } = node.process
    if (this.#random.chance(0.2)) {
      clock.setTimer(() => abort.abort(), this.#random.between(0, waitMs), 'background')
    }
    const options = { ttlMs, waitMs, signal: abort.signal }
    const lease = await this.#settles(node, waitMs, () => node.locks.acquire(key, options))
    if (lease) await this.#hold(node, lease)
  }

  async #run(node: SimulatedNode, key: string, ttlMs: number): Promise<void> {
    const waitMs = Math.floor(this.#random.between(0, 1_500))
    const worksMs = this.#random.between(0, 150)
    let hasBegun = (): void => {}
    const acquired = new Promise<undefined>((resolve) => {
      hasBegun = () => resolve(undefined)
    })
    const running = node.locks.run(
      key,
      async (lease) => {
        hasBegun()
        const holding = this.#given(node, lease)
        await node.process.sleep(worksMs)
        holding.isGivenBack = true
      },
      { ttlMs, waitMs },
    )
    await this.#settles(node, waitMs, () => Promise.race([acquired, running]))
    await running.catch(expected)
  }

  /** Works with a lease, and gives it back, or forgets to. */
  async #hold(node: SimulatedNode, lease: Lease): Promise<void> {
    const holding = this.#given(node, lease)
    await node.process.sleep(this.#random.between(0, 60))
    if (this.#random.chance(0.3)) {
      // Two at once, which may overtake each other.
      const extensions = [1, 2].map(() =>
        lease.extend(Math.ceil(this.#random.between(10, 400))).catch(expected),
      )
      await Promise.all(extensions)
      await node.process.sleep(this.#random.between(0, 60))
    }
    if (this.#random.chance(0.1)) return
    holding.isGivenBack = true
    await lease.release().catch(expected)
  }

  /** Every acquisition is answered by its deadline; a process that was stopped meanwhile has that much longer. */
  async #settles<T>(node: SimulatedNode, waitMs: number, acquire: () => Promise<T>): Promise<T | undefined> {
    const { clock } = node.process
    const startedAtMs = clock.monotonicMs()
    const pausedBeforeMs = node.process.pausedMs
    this.#waiting += 1
    try {
      return await acquire()
    } catch (error) {
      expected(error)
      return undefined
    } finally {
      this.#waiting -= 1
      const tookMs = clock.monotonicMs() - startedAtMs - (node.process.pausedMs - pausedBeforeMs)
      const mayTakeMs = Math.max(waitMs, callTimeoutMs) * 1.1 + timersLateMs
      if (tookMs > mayTakeMs) {
        this.world.violations.push(`an acquisition took ${tookMs} ms, not ${mayTakeMs}`)
      }
    }
  }

  #given({ process }: SimulatedNode, lease: Lease): Holding {
    this.leases += 1
    const { key, token } = lease
    if (!this.#isForgetful) {
      const seen = this.#seenTokens.get(key) ?? 0
      if (token <= seen) this.world.violations.push(`a node was given ${key} with ${token} after ${seen}`)
      this.#seenTokens.set(key, token)
    }
    const { clock } = process
    const untilMs = clock.monotonicMs() + validityMs(lease.ttlMs)
    const holding: Holding = {
      key,
      isGivenBack: false,
      isHeld: () =>
        this.#countsFromReply ? !holding.isGivenBack && clock.monotonicMs() < untilMs : lease.held,
    }
    this.#holdings.add(holding)
    return holding
  }

  /** No two at once, in true time, whatever their clocks say. */
  #look(): void {
    const held = new Set<string>()
    for (const holding of this.#holdings) {
      if (!holding.isHeld()) this.#holdings.delete(holding)
      else if (held.has(holding.key)) this.#twice(holding.key)
      else held.add(holding.key)
    }
  }

  #twice(key: string): void {
    if (!this.#isForgetful) this.world.violations.push(`${key} is held twice at ${this.world.nowMs} ms`)
  }

  #lookAtTheEnd(): void {
    for (const key of keys) {
      if (!this.#server.isFree(key)) this.world.violations.push(`${key} is not free at the end`)
    }
  }
}

/** Of the few timers that an acquisition sets one after the other. */
const timersLateMs = 10

/** Anything that the protocol can reject with; other errors end the test. */
function expected(error: unknown): void {
  if (!isMultinodeError(error) || error.code === 'INTERNAL') throw error
}

import { randomBytes } from 'node:crypto'
import { hasRandomId } from '../cluster/identity.ts'
import { isMultinodeError, MultinodeError } from '../errors/multinode-error.ts'
import type { CapabilityContext } from '../runtime/capability-context.ts'
import { type Instant, now } from '../runtime/clock.ts'
import { DriverCalls } from '../runtime/driver-calls.ts'
import { type AcquireWorkerIdOptions, readAcquireOptions, type Wanted } from './acquire-options.ts'
import { AcquisitionWait } from './acquisition-wait.ts'
import type { WorkerHolder, WorkerIdDriver, WorkerIdReply } from './worker-id-driver.ts'
import { WorkerLease } from './worker-lease.ts'
import { leastSkewMs, skewError, WorkerRenewal } from './worker-renewal.ts'

/** Counters since start, and what is so now. */
export interface WorkerIdStats {
  readonly acquired: number
  readonly renewed: number
  readonly released: number
  readonly lost: number
  /** The ids that this node has now. */
  readonly held: readonly number[]
}

/** What a process is called that nobody named, so that a reload of the app in it gets its old id. */
const processKey = `process-${randomBytes(8).toString('hex')}`

/**
 * Numbers from 0 to `range` - 1, each for one node of the cluster at a time: for generators of ids, and for shards. Every call settles within the
 * longer of `waitMs` and the cluster's `callTimeoutMs`, plus a tenth, whatever the backend does.
 */
export class WorkerIds {
  readonly #driver: WorkerIdDriver
  readonly #context: CapabilityContext
  readonly #calls: DriverCalls
  readonly #ownerKey: string
  readonly #renewals = new Map<WorkerLease, WorkerRenewal>()
  readonly #acquisitions = new Map<AcquisitionWait, Promise<WorkerLease>>()
  readonly #farewells = new Set<Promise<unknown>>()
  #ended: MultinodeError | undefined
  #acquired = 0
  #released = 0
  #renewed = 0
  #lost = 0

  constructor(driver: WorkerIdDriver, context: CapabilityContext) {
    this.#driver = driver
    this.#context = context
    this.#calls = new DriverCalls(context)
    this.#ownerKey = hasRandomId(context.node) ? processKey : context.node.nodeId
  }

  /** The driver underneath, with its typed `native` client. */
  get driver(): WorkerIdDriver {
    return this.#driver
  }

  /**
   * Takes an id that nobody has, and keeps it until {@link WorkerLease.release}. One round trip when one is free.
   *
   * @throws `EXHAUSTED` with `details.retryAfterMs` and `details.holders` when none became free within `waitMs`; `CLOCK_SKEW` when the clocks of
   * this node and the backend differ by more than `maxSkewMs`; `TIMEOUT` or `UNAVAILABLE` when the backend was away for as long, `TIMEOUT` also when it
   * answered too late each time to compare the clocks
   */
  async acquire(options: AcquireWorkerIdOptions = {}): Promise<WorkerLease> {
    const wanted = readAcquireOptions(options, this.#ownerKey, this.#context)
    if (this.#ended !== undefined) throw this.#ended
    const wait = new AcquisitionWait(wanted, this.#context)
    const acquisition = this.#untilGranted(wanted, wait)
    this.#acquisitions.set(wait, acquisition)
    try {
      return await acquisition
    } finally {
      this.#acquisitions.delete(wait)
      wait.stop()
    }
  }

  /** Who has which id, and which are not free yet: for a dashboard. One round trip. */
  async holders(): Promise<readonly WorkerHolder[]> {
    if (this.#ended !== undefined) throw this.#ended
    const { callTimeoutMs } = this.#context
    return this.#calls.call('holders', callTimeoutMs, () => this.#driver.holders(callTimeoutMs))
  }

  stats(): WorkerIdStats {
    return {
      acquired: this.#acquired,
      renewed: [...this.#renewals.values()].reduce((sum, each) => sum + each.renewals, this.#renewed),
      released: this.#released,
      lost: this.#lost,
      held: [...this.#renewals.keys()].filter((lease) => lease.held).map(({ id }) => id),
    }
  }

  /** Gives all ids back: they go last, when nothing is left that needs ids. Generators that use them stop with `NOT_OWNED`. */
  async drain(): Promise<string[]> {
    await this.#end('this cluster object is draining')
    return []
  }

  /** As {@link drain}; what cannot be given back within `callTimeoutMs` is free after lease and quarantine. Idempotent, never rejects. */
  async close(): Promise<void> {
    await this.#end('this cluster object is closed')
  }

  async #end(reason: string): Promise<void> {
    const error = new MultinodeError('CLOSED', `Worker ids: ${reason}.`, { capability: 'workerid' })
    this.#ended ??= error
    for (const wait of this.#acquisitions.keys()) wait.end(error)
    // One that was granted at the same moment is among the leases afterwards.
    await Promise.allSettled(this.#acquisitions.values())
    const leases = [...this.#renewals.keys()]
    await Promise.all(leases.map((lease) => lease.release().catch(this.#context.report)))
    await Promise.all(this.#farewells)
  }

  async #untilGranted(wanted: Wanted, wait: AcquisitionWait): Promise<WorkerLease> {
    if (wait.ended !== undefined) throw wait.ended
    const token = randomBytes(16).toString('hex')
    for (;;) {
      const sentAt = now(this.#context.clock)
      const reply = await this.#attempt(wanted, token, sentAt, wait)
      if (reply instanceof MultinodeError) {
        if (!(await wait.pause(100))) throw reply
      } else if (reply.status === 'granted') {
        return this.#keep(reply, wanted, token, sentAt)
      } else if (reply.status === 'skewed') {
        await this.#throwIfSkewed(reply.backendMs, wanted, sentAt, wait)
      } else if (!(await wait.pause(reply.retryAfterMs))) {
        throw await this.#exhausted(wanted, reply.retryAfterMs)
      }
    }
  }

  /** Resolves when the answer may only have been late: then the next one tells. */
  async #throwIfSkewed(
    backendMs: number,
    { terms }: Wanted,
    sentAt: Instant,
    wait: AcquisitionWait,
  ): Promise<void> {
    const skewMs = leastSkewMs(sentAt.wallMs, this.#context.clock.wallMs(), backendMs)
    const isProven = Math.abs(skewMs) > terms.maxSkewMs
    if (isProven) throw skewError(skewMs, terms.maxSkewMs, backendMs)
    if (!(await wait.again())) throw this.#tooLate(terms.maxSkewMs)
  }

  #tooLate(maxSkewMs: number): MultinodeError {
    const { backend } = this.#context
    return new MultinodeError(
      'TIMEOUT',
      `workerid on ${backend}: acquire was under way for more than ${maxSkewMs} ms (maxSkewMs) each time, too long to tell whether the clocks agree. ` +
        'Nothing was taken; try again, or allow for more.',
      { capability: 'workerid', backend, details: { operation: 'acquire', maxSkewMs } },
    )
  }

  /** A failure that may pass is a result; any other one is thrown. */
  async #attempt(
    wanted: Wanted,
    token: string,
    sentAt: Instant,
    wait: AcquisitionWait,
  ): Promise<WorkerIdReply | MultinodeError> {
    const { range, ownerKey, prefer, isFirstStart, terms } = wanted
    const nowMs = Math.floor(sentAt.wallMs)
    const timeoutMs = wait.attemptTimeoutMs()
    const work = this.#calls.call('acquire', timeoutMs, () =>
      this.#driver.acquire({ token, ownerKey, range, prefer, isFirstStart, terms, nowMs }, timeoutMs),
    )
    try {
      return await wait.untilEnded(work)
    } catch (error) {
      if (wait.ended !== undefined) this.#undo(work, token)
      if (!isMultinodeError(error) || !error.retryable || wait.ended !== undefined) throw error
      return error
    }
  }

  #keep(
    reply: WorkerIdReply & { readonly status: 'granted' },
    { ownerKey, terms }: Wanted,
    token: string,
    sentAt: Instant,
  ): WorkerLease {
    const { clock, report } = this.#context
    const grant = { id: reply.id, token, ownerKey, terms, window: reply, sentAt }
    const lease = new WorkerLease(grant, {
      clock,
      report,
      release: (each) => this.#release(each),
      lost: (each) => {
        this.#forget(each)
        this.#lost += 1
      },
    })
    const parts = { driver: this.#driver, calls: this.#calls, context: this.#context }
    this.#acquired += 1
    this.#renewals.set(lease, new WorkerRenewal(lease, parts))
    return lease
  }

  async #release(lease: WorkerLease): Promise<void> {
    this.#forget(lease)
    this.#released += 1
    await this.#giveBack(lease.id, lease.grant.token, lease.usedMs)
  }

  #forget(lease: WorkerLease): void {
    const renewal = this.#renewals.get(lease)
    renewal?.stop()
    this.#renewed += renewal?.renewals ?? 0
    this.#renewals.delete(lease)
  }

  async #giveBack(id: number, token: string, usedMs: number): Promise<void> {
    const release = (timeoutMs: number): Promise<unknown> =>
      this.#driver.release({ id, token, usedMs }, timeoutMs)
    await this.#calls.insist('release', release, () => true)
  }

  /** What is granted to somebody who does not want it any more. */
  #undo(work: Promise<WorkerIdReply>, token: string): void {
    const farewell = work
      .then((reply) =>
        reply.status === 'granted' ? this.#giveBack(reply.id, token, reply.floorMs - 1) : undefined,
      )
      .catch(() => undefined)
      .finally(() => this.#farewells.delete(farewell))
    this.#farewells.add(farewell)
  }

  async #exhausted({ range, waitMs }: Wanted, retryAfterMs: number): Promise<MultinodeError> {
    const holders = await this.holders().catch(() => [])
    const names = holders.map(({ id, ownerKey, state }) => `${id} ${ownerKey} (${state})`)
    const shown = names.slice(0, 5).join(', ') + (names.length > 5 ? `, and ${names.length - 5} more` : '')
    return new MultinodeError(
      'EXHAUSTED',
      `No worker id of ${range} was free within ${waitMs} ms (waitMs); taken: ${shown === '' ? 'none, but the backend may have lost what it knew' : shown}. ` +
        `Try again in ${retryAfterMs} ms, or use a larger range.`,
      { capability: 'workerid', backend: this.#context.backend, details: { range, retryAfterMs, holders } },
    )
  }
}

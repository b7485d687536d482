import { MultinodeError } from '../errors/multinode-error.ts'
import { type Clock, elapsedMs, type Instant, type Timer } from '../runtime/clock.ts'
import type { TimestampWindow } from './timestamp-window.ts'
import type { LeaseTerms, WindowReply } from './worker-id-driver.ts'

/** What a lease needs from the {@link WorkerIds} it came from. */
export interface WorkerLeaseOwner {
  readonly clock: Clock
  readonly report: (error: unknown) => void
  /** Gives the id back at the backend. */
  release(lease: WorkerLease): Promise<void>
  /** Called once, when another node may have the id. */
  lost(lease: WorkerLease): void
}

export interface WorkerGrant {
  readonly id: number
  readonly token: string
  readonly ownerKey: string
  readonly terms: LeaseTerms
  readonly window: WindowReply
  /** When the request that was granted was sent: the backend cannot have started the lease earlier. */
  readonly sentAt: Instant
}

/** How late at most a wall clock that ran ahead is noticed. */
const maxBlindMs = 1_000

/**
 * A worker id that is ours for a lease, which is renewed every third of it until {@link release}.
 *
 * For a generator of ids use {@link claim}: its window keeps ids apart whatever is paused or lost. For anything else, such as the number of a
 * shard, use {@link signal} and {@link assertHeld}; that use is advisory, because a paused process cannot notice that its time is over.
 */
export class WorkerLease implements AsyncDisposable {
  /** From 0. */
  readonly id: number
  /** For the owner: names this lease at the backend. */
  readonly grant: WorkerGrant
  readonly #owner: WorkerLeaseOwner
  readonly #abort = new AbortController()
  #window: WindowReply
  #renewedAt: Instant
  #usedMs: number
  #isClaimed = false
  /** Why the id is over for us, once it is. */
  #over: MultinodeError | undefined
  #timer: Timer | undefined
  #releasing: Promise<void> | undefined

  constructor(grant: WorkerGrant, owner: WorkerLeaseOwner) {
    this.id = grant.id
    this.grant = grant
    this.#owner = owner
    this.#window = grant.window
    this.#renewedAt = grant.sentAt
    this.#usedMs = grant.window.floorMs - 1
    this.#watchDeadline()
  }

  /**
   * Aborted, with a `LOST` error as its reason, as soon as the lease was not renewed in time or another may have the id; not by a
   * release. It stays aborted: release the id, and acquire one again. A generator need not look at it, because its window stops by itself and goes on
   * when a later renewal succeeds.
   */
  get signal(): AbortSignal {
    return this.#abort.signal
  }

  /** True while the id is ours, as far as a process can know. */
  get held(): boolean {
    return !this.#abort.signal.aborted && this.remainingMs() > 0
  }

  /** Milliseconds until the lease ends without renewal; 0 once it has ended. */
  remainingMs(): number {
    if (this.#over !== undefined) return 0
    // Less 1 % and 2 ms: room for a clock of the backend that runs faster than ours.
    const validForMs = this.grant.terms.leaseMs * 0.99 - 2
    return Math.max(0, validForMs - elapsedMs(this.#owner.clock, this.#renewedAt))
  }

  /** Throws `LOST` unless {@link held}, `NOT_OWNED` after the release. */
  assertHeld(): void {
    if (this.#over !== undefined) throw this.#over
    if (!this.held) this.#ranOut()
    this.#abort.signal.throwIfAborted()
  }

  /**
   * The timestamps for one generator of ids.
   * @throws `ALREADY_EXISTS` the second time, because two generators with one id make the same ids
   */
  claim(): TimestampWindow {
    if (this.#isClaimed) {
      throw new MultinodeError(
        'ALREADY_EXISTS',
        `A generator has worker id ${this.id} already, and two would make the same ids: share the generator, or acquire another id.`,
        { capability: 'workerid', details: { id: this.id } },
      )
    }
    this.#isClaimed = true
    return {
      floor: () => this.#window.floorMs,
      ceiling: () => this.#ceilingMs(),
      used: (timestampMs) => {
        this.#usedMs = Math.max(this.#usedMs, timestampMs)
      },
    }
  }

  /**
   * Gives the id back; the next holder can have it at once, with timestamps above those that were used. Idempotent. Rejects with `TIMEOUT`
   * or `UNAVAILABLE` when the backend could not be told within `callTimeoutMs`: others can then have the id after lease and quarantine.
   */
  release(): Promise<void> {
    this.#releasing ??= this.#releaseOnce()
    return this.#releasing
  }

  /** As {@link release}, but a failure is reported on the cluster's `error` event: it must not replace the block's own. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.release().catch(this.#owner.report)
  }

  /** For the owner: the highest timestamp that was used. */
  get usedMs(): number {
    return this.#usedMs
  }

  /** For the owner: what the backend said last. */
  get window(): WindowReply {
    return this.#window
  }

  /** For the owner: whether it can still become valid again. */
  get isOver(): boolean {
    return this.#over !== undefined
  }

  /** For the owner: the backend renewed it. */
  renewed(window: WindowReply, sentAt: Instant): void {
    this.#window = window
    this.#renewedAt = sentAt
    this.#usedMs = Math.max(this.#usedMs, window.floorMs - 1)
    if (!this.#abort.signal.aborted) this.#watchDeadline()
  }

  /** For the owner: another may have the id. */
  lose(): void {
    if (this.#over !== undefined) return
    const error = this.#lostError('another node may have it. Acquire one again, and make a generator of it')
    this.#end(error)
    this.#owner.lost(this)
    this.#abort.abort(error)
    this.#owner.report(error)
  }

  #ceilingMs(): number {
    if (this.#over !== undefined) throw this.#over
    return this.#window.ceilingMs
  }

  #releaseOnce(): Promise<void> {
    if (this.#over !== undefined) return Promise.resolve()
    this.#end(
      new MultinodeError('NOT_OWNED', `Worker id ${this.id} was released: acquire one again.`, {
        capability: 'workerid',
        details: { id: this.id },
      }),
    )
    return this.#owner.release(this)
  }

  #end(error: MultinodeError): void {
    this.#over = error
    this.#timer?.cancel()
  }

  #watchDeadline(): void {
    this.#timer?.cancel()
    const look = (): void => {
      if (this.remainingMs() > 0) this.#watchDeadline()
      else this.#ranOut()
    }
    // Timers stand still in a suspended machine and fire a fraction early, so the clocks are asked each second.
    const delayMs = Math.min(maxBlindMs, Math.max(1, Math.ceil(this.remainingMs())))
    this.#timer = this.#owner.clock.setTimer(look, delayMs, 'background')
  }

  /** Said once, on the signal and to the operator. The id may still become ours again. */
  #ranOut(): void {
    if (this.#abort.signal.aborted) return
    this.#timer?.cancel()
    const error = this.#lostError(
      'its lease was not renewed in time. Generators stop before an id could repeat, and go on once it is renewed; other work that ' +
        'relies on it must stop',
    )
    this.#abort.abort(error)
    this.#owner.report(error)
  }

  #lostError(reason: string): MultinodeError {
    return new MultinodeError('LOST', `Worker id ${this.id} is not certainly ours: ${reason}.`, {
      capability: 'workerid',
      details: { id: this.id },
    })
  }
}

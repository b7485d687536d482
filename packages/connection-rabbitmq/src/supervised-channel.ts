import { isMultinodeError, MultinodeError, type Timer, withDeadline } from '@multinode/core'
import type { Channel, ConfirmChannel, Message } from 'amqplib'
import { backoffMs } from './backoff.ts'
import { closeMs, type Link, type LinkMember, type Rank } from './link.ts'
import type { OpenLink } from './open-link.ts'
import { closedBy, reasonOf, toRabbitmqError } from './rabbitmq-errors.ts'

/** A channel that failed again within this time is tried again later each time. */
const provenMs = 10_000
/** A stream that was just declared, or has lost its leader, refuses for some tenths of a second: then it must not take long. */
const mostDoublings = 3
/** What is worth a retry and goes on for longer than so many, some seconds, does not pass by itself. */
const passingFailures = 6

/** One incarnation of a channel: whatever refers to it is stale once it is dead. */
export interface LiveChannel<C extends Channel> {
  readonly channel: C
  isDead: boolean
  /** How many calls of `run` wait for an answer. */
  running: number
  /** For which the server closed it. */
  error: Error | undefined
}

export interface ChannelParts<C extends Channel> {
  readonly link: Link
  /** For errors. */
  readonly name: string
  readonly rank: Rank
  readonly open: (link: OpenLink) => Promise<C>
  /** Run on each new channel before it is used. */
  readonly setup: (live: LiveChannel<C>) => Promise<void>
  readonly onLive?: (live: LiveChannel<C>) => void
  readonly onLost?: (error: MultinodeError, live: LiveChannel<C>) => void
  readonly onReturn?: (live: LiveChannel<C>, message: Message) => void
  readonly onDrain?: (live: LiveChannel<C>) => void
  readonly onUnblocked?: () => void
  /** What it has still to send goes before the close. */
  readonly onClosing?: () => void
  readonly onClosed?: () => void
}

interface Waiting {
  readonly resolve: () => void
  readonly reject: (error: MultinodeError) => void
}

/**
 * A channel that is opened and set up again whenever it or its connection was lost, apart from all others. What fails is told and tried
 * again, for ever.
 */
export class SupervisedChannel<C extends Channel = Channel> implements LinkMember {
  readonly rank: Rank
  readonly #parts: ChannelParts<C>
  readonly #waiting = new Set<Waiting>()
  #link: OpenLink | undefined
  /** The newest one, which may not be set up yet. */
  #newest: LiveChannel<C> | undefined
  #live: LiveChannel<C> | undefined
  #epoch = 0
  #failures = 0
  #liveSinceMs = 0
  #timer: Timer | undefined
  #lastTold: string | undefined
  #lastError: MultinodeError | undefined
  /** Why the last attempt to set it up failed, if it did. */
  #setupError: MultinodeError | undefined
  #closing: Promise<void> | undefined

  constructor(parts: ChannelParts<C>) {
    this.#parts = parts
    this.rank = parts.rank
  }

  /** Set up and in use. */
  get live(): LiveChannel<C> | undefined {
    return this.#live
  }

  get isClosed(): boolean {
    return this.#closing !== undefined
  }

  /**
   * Work on the channel, within its deadline. Refused in the next turn of the event loop while the channel is away (`UNAVAILABLE`,
   * `not-sent`). One that gets no answer costs the channel, which is replaced.
   */
  run<T>(operation: string, timeoutMs: number, work: (channel: C) => Promise<T>): Promise<T> {
    const live = this.#live
    if (this.isClosed) return refusal(this.closedError(operation, 'not-sent'))
    if (live === undefined) return refusal(this.downError(operation))
    return this.#guard(live, operation, timeoutMs, work)
  }

  /** Resolves once it is set up; rejects with what failed last, at the deadline, or at once when that is not worth a retry. */
  whenReady(timeoutMs: number): Promise<void> {
    if (this.isClosed) return refusal(this.closedError('waiting', 'not-sent'))
    if (this.#live !== undefined) return Promise.resolve()
    if (this.#setupError !== undefined && !this.#setupError.retryable) return refusal(this.#setupError)
    const { clock } = this.#parts.link.context
    let waiting: Waiting | undefined
    const ready = new Promise<void>((resolve, reject) => {
      waiting = { resolve, reject }
      this.#waiting.add(waiting)
    })
    const late = (): MultinodeError => this.#lastError ?? this.downError('waiting')
    return withDeadline(clock, timeoutMs, ready, late).finally(() => waiting && this.#waiting.delete(waiting))
  }

  async restore(link: OpenLink): Promise<void> {
    // One that was added in the meantime is under way already.
    if (this.#link === link) return
    this.#link = link
    this.#failures = 0
    await this.#open(link)
  }

  lose(reason: Error): void {
    this.#link = undefined
    this.#drop(toRabbitmqError(reason, this.#origin('the connection', 'unknown')))
  }

  unblock(): void {
    this.#parts.onUnblocked?.()
  }

  /** Replaces a channel that is of no use any more. */
  recycle(live: LiveChannel<C>, error: MultinodeError): void {
    if (live !== this.#newest || live.isDead) return
    void closeQuietly(live)
    this.#drop(error)
    this.#retryLater()
  }

  /** Idempotent: ends after the server has what was written, or after `closeMs`. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  closedError(operation: string, outcome: 'not-sent' | 'unknown'): MultinodeError {
    const { link, name } = this.#parts
    return new MultinodeError(
      'CLOSED',
      `RabbitMQ at ${link.address}: ${operation} on ${name} met the close.`,
      {
        backend: 'rabbitmq',
        outcome,
      },
    )
  }

  downError(operation: string): MultinodeError {
    const { state } = this.#parts.link
    const cause = this.#lastError?.cause
    const last = cause instanceof Error ? reasonOf(cause) : this.#lastError?.message
    const reason = state.reason ?? last ?? 'it is being opened'
    const what = state.status === 'down' ? 'connection' : 'channel'
    return toRabbitmqError(new Error(`the ${what} is down: ${reason}`), this.#origin(operation, 'not-sent'))
  }

  #origin(
    operation: string,
    outcome: 'not-sent' | 'unknown',
  ): { address: string; operation: string; outcome: 'not-sent' | 'unknown' } {
    const { link, name } = this.#parts
    return { address: link.address, operation: `${operation} on ${name}`, outcome }
  }

  async #guard<T>(
    live: LiveChannel<C>,
    operation: string,
    timeoutMs: number,
    work: (channel: C) => Promise<T>,
  ): Promise<T> {
    const { link } = this.#parts
    live.running += 1
    try {
      return await withDeadline(link.context.clock, timeoutMs, work(live.channel), () => {
        const error = this.#timeout(operation, timeoutMs)
        this.recycle(live, error)
        return error
      })
    } catch (error) {
      await nextTurn()
      if (this.isClosed && !isMultinodeError(error)) throw this.closedError(operation, 'unknown')
      throw toRabbitmqError(this.#blame(error, live), this.#origin(operation, 'unknown'))
    } finally {
      live.running -= 1
    }
  }

  /** Who only met the closed channel is told what closed it. */
  #blame(error: unknown, live: LiveChannel<C>): unknown {
    if (
      live.error === undefined ||
      !(error instanceof Error) ||
      !/^Channel (ended|closed|closing)/.test(error.message)
    )
      return error
    const culprit = closedBy(live.error)
    return new Error(`the channel was closed${culprit ? ` by ${culprit}` : ''}: ${reasonOf(live.error)}`, {
      cause: live.error,
    })
  }

  async #open(link: OpenLink): Promise<void> {
    if (this.isClosed) return
    this.#epoch += 1
    const epoch = this.#epoch
    const { context } = this.#parts.link
    try {
      const made = this.#make(link, epoch)
      const live = await withDeadline(context.clock, context.callTimeoutMs, made, () =>
        this.#timeout('opening', context.callTimeoutMs),
      )
      if (epoch !== this.#epoch) return
      if (live.isDead) throw live.error ?? new Error('the channel was closed')
      this.#live = live
      this.#liveSinceMs = context.clock.monotonicMs()
      this.#lastError = undefined
      this.#setupError = undefined
      for (const { resolve } of this.#waiting) resolve()
      this.#parts.onLive?.(live)
    } catch (error) {
      if (epoch !== this.#epoch) return
      const failed = this.#newest
      if (failed !== undefined) void closeQuietly(failed)
      const culprit = failed?.error && closedBy(failed.error)
      const reason = failed === undefined ? error : this.#blame(error, failed)
      const told = toRabbitmqError(reason, this.#origin(culprit ?? 'opening', 'not-sent'))
      this.#drop(told)
      this.#setupError = told
      if (!told.retryable) for (const { reject } of this.#waiting) reject(told)
      this.#tell(told)
      this.#retryLater()
    }
  }

  async #make(link: OpenLink, epoch: number): Promise<LiveChannel<C>> {
    const live = await this.#parts.open(link).then((channel) => this.#listen(channel))
    if (epoch !== this.#epoch) {
      void closeQuietly(live)
      return live
    }
    this.#newest = live
    await this.#parts.setup(live)
    return live
  }

  #listen(channel: C): LiveChannel<C> {
    const live: LiveChannel<C> = { channel, isDead: false, running: 0, error: undefined }
    channel.on('error', (error: Error) => (live.error = error))
    channel.on('close', () => this.#onClose(live))
    channel.on('return', (message: Message) => this.#parts.onReturn?.(live, message))
    channel.on('drain', () => this.#parts.onDrain?.(live))
    // Without a listener amqplib closes the channel.
    channel.on('handler-error', (error: Error) => this.#parts.link.context.report(error))
    return live
  }

  #onClose(live: LiveChannel<C>): void {
    if (live.isDead) return
    live.isDead = true
    // One that is still being set up fails by its setup.
    if (this.#live !== live) return
    const error = live.error ?? new Error('the channel was closed')
    const told = toRabbitmqError(error, this.#origin(closedBy(error) ?? 'an operation', 'unknown'))
    this.#drop(told)
    if (this.#parts.link.current !== this.#link || this.#link?.lostBecause !== undefined) return
    // Those who call are told already.
    if (live.error !== undefined && live.running === 0) this.#tell(told)
    this.#retryLater()
  }

  #drop(error: MultinodeError): void {
    const live = this.#newest
    const wasLive = this.#live !== undefined
    this.#epoch += 1
    this.#timer?.cancel()
    this.#newest = undefined
    this.#live = undefined
    this.#lastError = error
    this.#setupError = undefined
    if (live !== undefined) live.isDead = true
    if (live !== undefined && wasLive) this.#parts.onLost?.(error, live)
  }

  #retryLater(): void {
    const { clock } = this.#parts.link.context
    if (this.isClosed || this.#link === undefined) return
    if (this.#liveSinceMs > 0 && clock.monotonicMs() - this.#liveSinceMs > provenMs) {
      this.#lastTold = undefined
      this.#failures = 0
    }
    this.#liveSinceMs = 0
    const link = this.#link
    // What the server refuses for a reason that lasts is not asked for several times a second.
    const most = this.#setupError?.retryable === false ? Infinity : mostDoublings
    this.#timer?.cancel()
    this.#timer = clock.setTimer(
      () => void this.#open(link),
      backoffMs(Math.min(this.#failures, most)),
      'background',
    )
    this.#failures += 1
  }

  /** Once, until it changes, and not what passes by itself. */
  #tell(error: MultinodeError): void {
    if (error.retryable && this.#failures < passingFailures) return
    if (this.#lastTold === error.message) return
    this.#lastTold = error.message
    this.#parts.link.context.report(error)
  }

  #timeout(operation: string, timeoutMs: number): MultinodeError {
    const { link, name } = this.#parts
    return new MultinodeError(
      'TIMEOUT',
      `RabbitMQ at ${link.address}: no answer to ${operation} on ${name} within ${timeoutMs} ms. It may still take effect; ` +
        'check the server and the network, then try again.',
      { backend: 'rabbitmq', outcome: 'unknown', details: { address: link.address, operation, timeoutMs } },
    )
  }

  async #close(): Promise<void> {
    const { link } = this.#parts
    const live = this.#newest
    link.remove(this)
    this.#parts.onClosing?.()
    // What is under way ends first: its error must say what it met.
    await Promise.resolve()
    if (live !== undefined) {
      const ended = closeQuietly(live)
      await withDeadline(link.context.clock, closeMs, ended, () => new Error('no answer')).catch(() => {})
    }
    const closed = this.closedError('an operation', 'unknown')
    this.#drop(closed)
    for (const { reject } of this.#waiting) reject(closed)
    this.#parts.onClosed?.()
  }
}

export function openPlain({ model }: OpenLink): Promise<Channel> {
  return model.createChannel()
}

export function openConfirming({ model }: OpenLink): Promise<ConfirmChannel> {
  return model.createConfirmChannel()
}

/** Takes a turn of the event loop, as every failure does: who tries again at once would else keep the connection from coming back for ever. */
export function refusal(error: MultinodeError): Promise<never> {
  return new Promise((_, reject) => setImmediate(reject, error))
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

async function closeQuietly({ channel }: LiveChannel<Channel>): Promise<void> {
  // It may be closed already, or be lost meanwhile.
  await channel.close().catch(() => {})
}

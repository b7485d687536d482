import { type Clock, MultinodeError, type PluginContext, withDeadline } from '@multinode/core'
import { backoffMs, refusedBackoffMs } from './backoff.ts'
import { type LinkEvents, type OpenLink, openLink, speaksTls } from './open-link.ts'
import { isFatalForConnect, reasonOf, toRabbitmqError } from './rabbitmq-errors.ts'
import { formatTarget, type RabbitmqEndpoint, type RabbitmqTarget } from './rabbitmq-target.ts'

/** How long a close waits for a server that does not answer. */
export const closeMs = 300
/** A connection that is lost within this time, again and again, is made again later each time: something on it costs it. */
const provenMs = 1_000
/** No more, because it may only have been cut a few times. */
const mostDoublings = 3

/** In which order members are restored: channels with their topology, consumers, publishers. */
export type Rank = 0 | 1 | 2

/** What lives on a connection and is restored after each reconnect. */
export interface LinkMember {
  readonly rank: Rank
  /** Resolves after the first attempt, however that went: further ones follow in the background. Never rejects. */
  restore(link: OpenLink): Promise<void>
  /** The connection is gone, and all that was on it. */
  lose(reason: Error): void
  /** The server takes messages again. */
  unblock(): void
  close(): Promise<void>
}

export interface LinkParts {
  readonly target: RabbitmqTarget
  /** What it is for, in its name and in errors. */
  readonly role: 'consuming' | 'publishing'
  readonly context: PluginContext
  /** Where the target was given, for errors. */
  readonly source: string
  readonly askPassword: () => Promise<string>
  /** What has to be there before members are restored. */
  readonly beforeRestore: () => Promise<void>
  readonly onChange: () => void
}

export interface LinkState {
  readonly status: 'up' | 'blocked' | 'down'
  /** When that began, in ms since 1970. */
  readonly sinceMs: number
  /** Why it is not up. */
  readonly reason: string | undefined
}

/** One AMQP connection that is made anew for ever, and all that is on it with it. */
export class Link {
  readonly #parts: LinkParts
  readonly #clock: Clock
  readonly #members = new Set<LinkMember>()
  readonly #events: LinkEvents
  readonly #waiting = new Set<() => void>()
  #current: OpenLink | undefined
  #state: LinkState
  #isConnecting = false
  #wasUp = false
  #upSinceMs = 0
  /** How often it was lost soon after it was up. */
  #earlyLosses = 0
  /** Of what is being opened. */
  readonly #ending = new AbortController()
  #isClosed = false
  #wake: (() => void) | undefined
  #lastTold: string | undefined

  constructor(parts: LinkParts) {
    this.#parts = parts
    this.#clock = parts.context.clock
    this.#state = { status: 'down', sinceMs: this.#clock.wallMs(), reason: 'it was not connected yet' }
    this.#events = {
      onLost: (link, error) => this.#lose(link, error),
      onBlocked: (link, reason) => this.#block(link, reason),
    }
  }

  get address(): string {
    return formatTarget(this.#parts.target)
  }

  get context(): PluginContext {
    return this.#parts.context
  }

  get frameMaxBytes(): number {
    return this.#parts.target.frameMaxBytes
  }

  get state(): LinkState {
    return this.#state
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** The connection that is open, also while it is being restored. */
  get current(): OpenLink | undefined {
    return this.#current
  }

  /** Connects, and goes on trying until `timeoutMs`, but not after a refusal that no further attempt will mend. */
  async start(timeoutMs: number): Promise<void> {
    const { context, source } = this.#parts
    const operation = `connecting (${source})`
    let lastReason = 'no connection'
    const up = new Promise<void>((resolve, reject) => {
      const onError = (error: Error): void => {
        lastReason = reasonOf(error)
        if (!isFatalForConnect(error)) return
        reject(toRabbitmqError(error, { address: this.address, operation, outcome: 'not-sent' }))
      }
      void this.#connect(onError).then(resolve)
    })
    const onAbort = (): void => this.#giveUp()
    context.signal.addEventListener('abort', onAbort)
    try {
      await withDeadline(this.#clock, timeoutMs, up, () => {
        return new MultinodeError(
          'UNAVAILABLE',
          `RabbitMQ at ${this.address} (${source}) was not reached within ${context.connectTimeoutMs} ms: ${lastReason}. ` +
            'Check that the server runs and that the address is right.',
          { backend: 'rabbitmq', details: { address: this.address, source } },
        )
      })
      if (context.signal.aborted) throw new Error('it is not wanted any more')
    } finally {
      context.signal.removeEventListener('abort', onAbort)
    }
  }

  /** Resolves when it is up, or closed. */
  whenUp(): Promise<void> {
    if (this.#isClosed || this.#state.status !== 'down') return Promise.resolve()
    return new Promise((resolve) => this.#waiting.add(resolve))
  }

  add(member: LinkMember): void {
    this.#members.add(member)
    if (this.#current !== undefined) void member.restore(this.#current)
  }

  remove(member: LinkMember): void {
    this.#members.delete(member)
  }

  /** Idempotent. A dead server delays it by `closeMs`. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#giveUp()
    const link = this.#current
    const startedAtMs = this.#clock.monotonicMs()
    // Before the connection, because its close would overtake what they have written.
    await Promise.all([...this.#members].map((member) => member.close()))
    this.#current = undefined
    this.#setState('down', 'it was closed')
    if (link === undefined) return
    // What gave them no answer gives none now.
    const leftMs = closeMs - (this.#clock.monotonicMs() - startedAtMs)
    if (leftMs > 0)
      await withDeadline(this.#clock, leftMs, link.model.close(), () => new Error('no answer')).catch(
        () => {},
      )
    link.cut()
  }

  async #connect(onError: (error: Error) => void): Promise<void> {
    this.#isConnecting = true
    for (let attempt = 0; !this.#isUnwanted(); attempt += 1) {
      try {
        const link = await this.#openAny(onError)
        await this.#restore(link)
        break
      } catch (error) {
        const reason = error instanceof Error ? error : new Error(String(error))
        const isFatal = isFatalForConnect(reason)
        if (isFatal) this.#tell(reason)
        if (this.#state.status === 'down') this.#setState('down', reasonOf(reason))
        await this.#sleep(isFatal ? refusedBackoffMs() : backoffMs(attempt))
      }
    }
    this.#isConnecting = false
    // It may have been lost in the very moment.
    if (this.#current === undefined && !this.#isUnwanted()) void this.#reconnect()
  }

  /** Tries every server once, in random order. */
  async #openAny(onError: (error: Error) => void): Promise<OpenLink> {
    let last = new Error('no server')
    for (const endpoint of shuffled(this.#parts.target.endpoints)) {
      if (this.#isUnwanted()) break
      try {
        return await this.#open(endpoint)
      } catch (error) {
        last = error instanceof Error ? error : new Error(String(error))
        onError(last)
      }
    }
    throw last
  }

  async #open(endpoint: RabbitmqEndpoint): Promise<OpenLink> {
    const { target, role, context, askPassword } = this.#parts
    const timeoutMs = target.connectTimeoutMs ?? Math.min(context.callTimeoutMs, context.connectTimeoutMs)
    const connectionName = `${target.connectionName ?? context.node.nodeId} (${role})`
    const password = await askPassword()
    const events = this.#events
    const ending = this.#ending.signal
    ending.throwIfAborted()
    try {
      return await openLink(endpoint, {
        target,
        password,
        connectionName,
        timeoutMs,
        clock: this.#clock,
        events,
        ending,
      })
    } catch (error) {
      const isSilent = error instanceof Error && /closed abruptly|ECONNRESET/.test(error.message)
      if (!isSilent || target.tls !== undefined || ending.aborted) throw error
      if (!(await speaksTls(endpoint, this.#clock, timeoutMs, ending))) throw error
      throw Object.assign(new Error('the server ended the connection', { cause: error }), {
        code: 'MULTINODE_WANTS_TLS',
      })
    }
  }

  /** It counts as up only when all that was on it is there again, and it is still the same connection. */
  async #restore(link: OpenLink): Promise<void> {
    if (this.#isUnwanted()) {
      link.cut()
      return
    }
    if (link.lostBecause !== undefined) throw link.lostBecause
    this.#current = link
    await this.#parts.beforeRestore()
    for (const rank of [0, 1, 2] as const) {
      if (this.#current !== link) break
      const members = [...this.#members].filter((member) => member.rank === rank)
      await Promise.all(members.map((member) => member.restore(link)))
    }
    if (this.#isClosed) return
    if (this.#current !== link) throw link.lostBecause ?? new Error('it was closed')
    this.#lastTold = undefined
    this.#wasUp = true
    this.#upSinceMs = this.#clock.monotonicMs()
    // It may have said so while all that publishes was restored.
    this.#setState(link.blockedBecause === undefined ? 'up' : 'blocked', link.blockedBecause)
  }

  #lose(link: OpenLink, error: Error): void {
    link.cut()
    if (this.#current !== link) return
    this.#current = undefined
    for (const member of this.#members) member.lose(error)
    this.#setState('down', reasonOf(error))
    if (!this.#isConnecting && !this.#isClosed) void this.#reconnect()
  }

  async #reconnect(): Promise<void> {
    this.#isConnecting = true
    const isEarly = this.#clock.monotonicMs() - this.#upSinceMs < provenMs
    this.#earlyLosses = isEarly ? this.#earlyLosses + 1 : 0
    // Not all nodes of a cluster at once.
    await this.#sleep(backoffMs(Math.min(this.#earlyLosses, mostDoublings)))
    await this.#connect(() => {})
  }

  #block(link: OpenLink, reason: string | undefined): void {
    link.blockedBecause = reason
    if (this.#current !== link || this.#state.status === 'down') return
    this.#setState(reason === undefined ? 'up' : 'blocked', reason)
    if (reason === undefined) for (const member of this.#members) member.unblock()
  }

  #setState(status: LinkState['status'], reason: string | undefined): void {
    const { sinceMs, ...before } = this.#state
    const isSame = before.status === status
    this.#state = { status, sinceMs: isSame ? sinceMs : this.#clock.wallMs(), reason }
    if (status !== 'down' || this.#isClosed) {
      for (const resolve of this.#waiting) resolve()
      this.#waiting.clear()
    }
    if (!isSame) this.#parts.onChange()
  }

  /** Once, until it changes or the connection was up. */
  #tell(error: Error): void {
    const told = toRabbitmqError(error, {
      address: this.address,
      operation: 'connecting',
      outcome: 'not-sent',
    })
    if (this.#lastTold === told.message) return
    this.#lastTold = told.message
    // At the start the caller is told instead.
    if (this.#wasUp && !this.#isClosed) this.context.report(told)
  }

  /** Nothing is connected any more. */
  #giveUp(): void {
    this.#ending.abort()
    this.#wake?.()
  }

  #isUnwanted(): boolean {
    return this.#isClosed || this.context.signal.aborted
  }

  /** Ends early when the connection is closed. */
  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.#isUnwanted()) return resolve()
      const timer = this.#clock.setTimer(() => this.#wake?.(), ms, 'foreground')
      this.#wake = () => {
        timer.cancel()
        this.#wake = undefined
        resolve()
      }
    })
  }
}

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, key: Math.random() }))
    .sort((a, b) => a.key - b.key)
    .map(({ item }) => item)
}

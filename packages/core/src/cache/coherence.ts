import { isMultinodeError } from '../errors/multinode-error.ts'
import type { PubSub } from '../pubsub/pubsub.ts'
import type { CapabilityContext } from '../runtime/capability-context.ts'
import { pause, type Timer } from '../runtime/clock.ts'
import { randomBetween } from '../runtime/random.ts'
import type { CacheDriver, SpaceDefinition } from './cache-driver.ts'
import type { LocalSettings } from './cache-options.ts'
import { readSignal, signalsOf, topic } from './invalidation-signal.ts'
import type { Invalidation } from './unsaid.ts'

/** What a namespace keeps in this process, as far as signals change it. */
export interface LocalState {
  /** Told by another node. */
  invalidate(what: Invalidation): void
  /** Something may have been missed. */
  lose(): void
  /** Nothing older than this is fresh. */
  limitAge(oldestMs: number): void
}

/** Counters since start. */
export interface CoherenceStats {
  /** Invalidations that other nodes told. */
  readonly heard: number
  /** How often what this process keeps was given up, because some may have been missed. */
  readonly lost: number
}

/** How long values are kept in this process while signals may not arrive. */
export const oldestUnheardMs = 2_000
const lookAgainMs = 250
const maxQueue = 10_000

/**
 * Keeps what the processes of the cluster have of one cache in agreement, by signals: names of what was invalidated, never values. Where this node cannot hear of
 * the others, or not be heard, what it keeps counts for 2 seconds at most.
 */
export class Coherence {
  readonly #driver: CacheDriver
  readonly #context: CapabilityContext
  readonly #states = new Map<string, LocalState>()
  readonly #ending = new AbortController()
  #pubsub: PubSub | undefined
  #isStarted = false
  #isListening = false
  #isHearing = false
  /** What this node told has not left it. */
  #isUnheard = false
  #isEnding = false
  #wasReliable = false
  #removeListeners: (() => void) | undefined
  #timer: Timer | undefined
  #heard = 0
  #lost = 0

  constructor(driver: CacheDriver, context: CapabilityContext) {
    this.#driver = driver
    this.#context = context
  }

  /** What a namespace may keep in this process. Without signals only what has a `ttlMs` of its own: nobody would tell when it changes elsewhere. */
  localSettings(wanted: LocalSettings | undefined): LocalSettings | undefined {
    this.#start()
    if (wanted === undefined || this.#pubsub !== undefined) return wanted
    if (this.#isShared) this.#warn()
    return wanted.ttlMs === undefined ? undefined : wanted
  }

  add(definition: SpaceDefinition, state: LocalState): void {
    this.#start()
    this.#states.set(idOf(definition), state)
    state.limitAge(this.#oldestMs)
  }

  /** Tells the others; does not wait. Trouble is reported, never thrown. */
  tell(definition: SpaceDefinition, what: Invalidation): void {
    this.#start()
    const pubsub = this.#pubsub
    if (pubsub === undefined) return
    for (const signal of signalsOf(definition, what)) void this.#publish(pubsub, signal)
  }

  stats(): CoherenceStats {
    return { heard: this.#heard, lost: this.#lost }
  }

  /** The signals end soon: until this node has ended, nothing that it keeps counts for longer than while they fail. */
  drain(): void {
    this.#isEnding = true
    this.#weigh()
  }

  /** Idempotent. What was told is sent by the signals' own end. */
  end(): void {
    this.#isEnding = true
    this.#ending.abort()
    this.#removeListeners?.()
    this.#timer?.cancel()
    this.#timer = undefined
  }

  get #isShared(): boolean {
    return this.#driver.features.scope === 'cluster'
  }

  get #isReliable(): boolean {
    return this.#isListening && this.#isHearing && !this.#isUnheard && !this.#isEnding
  }

  get #oldestMs(): number {
    // Without signals a ttl of its own decides.
    return this.#pubsub === undefined || this.#isReliable ? Infinity : oldestUnheardMs
  }

  #start(): void {
    if (this.#isStarted) return
    this.#isStarted = true
    const pubsub = this.#context.pubsub()
    if (pubsub === undefined || this.#ending.signal.aborted) return
    if (this.#isShared && pubsub.driver.features.scope === 'process') return
    this.#pubsub = pubsub
    this.#isHearing = pubsub.isHearing
    const ends = [
      // One that is taken for dead may live, and may have changed what it could not tell.
      pubsub.onNodes(({ left }) => {
        if (left.length > 0) this.#lose()
      }),
      pubsub.onHearing((isHearing) => {
        this.#isHearing = isHearing
        this.#weigh()
      }),
    ]
    this.#removeListeners = () => ends.forEach((end) => end())
    void this.#listen(pubsub)
  }

  /** Until it has worked, for ever. Never rejects. */
  async #listen(pubsub: PubSub): Promise<void> {
    const { clock } = this.#context
    const { signal } = this.#ending
    while (!this.#isEnding) {
      try {
        await pubsub.subscribe(topic, ({ payload }) => this.#hear(payload), {
          onGap: () => this.#lose(),
          maxQueue,
          signal,
        })
        this.#isListening = true
        return this.#weigh()
      } catch (error) {
        if (this.#isEnding || (isMultinodeError(error) && error.code === 'CLOSED')) return
        await pause(clock, randomBetween(250, 1_000), signal)
      }
    }
  }

  #warn(): void {
    const { backend, warn } = this.#context
    warn(
      `cache is on ${backend}, but no signals reach the other nodes, so none of them is told when a value changes: each value is read from ${backend}, except where ` +
        'a namespace gives l1.ttlMs; there it may be so old. Set PUBSUB_ADAPTER.',
    )
  }

  #hear(payload: unknown): void {
    const signal = readSignal(payload)
    if (signal === undefined) return this.#lose()
    this.#heard += 1
    this.#states.get(idOf(signal.definition))?.invalidate(signal.what)
  }

  #lose(): void {
    this.#lost += 1
    for (const state of this.#states.values()) state.lose()
  }

  async #publish(pubsub: PubSub, signal: object): Promise<void> {
    try {
      const { status } = await pubsub.publish(topic, signal)
      if (status === 'buffered') this.#becomeUnheard(pubsub)
    } catch (error) {
      if (isMultinodeError(error) && error.code === 'CLOSED') return
      this.#context.report(error)
      this.#becomeUnheard(pubsub)
    }
  }

  #becomeUnheard(pubsub: PubSub): void {
    this.#isUnheard = true
    this.#weigh()
    if (this.#timer !== undefined || this.#isEnding) return
    const look = (): void => {
      this.#timer = undefined
      if (pubsub.stats().outbox > 0) return this.#becomeUnheard(pubsub)
      this.#isUnheard = false
      this.#weigh()
    }
    this.#timer = this.#context.clock.setTimer(look, lookAgainMs, 'background')
  }

  /** What was put before may be older than what is not heard yet, so it is given up when all is well again. */
  #weigh(): void {
    const isReliable = this.#isReliable
    if (isReliable === this.#wasReliable) return
    this.#wasReliable = isReliable
    if (isReliable) for (const state of this.#states.values()) state.lose()
    for (const state of this.#states.values()) state.limitAge(this.#oldestMs)
  }
}

function idOf({ name, version }: SpaceDefinition): string {
  return JSON.stringify([name, version])
}

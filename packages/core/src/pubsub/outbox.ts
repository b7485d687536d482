import { isMultinodeError, MultinodeError } from '../errors/multinode-error.ts'
import { toDriverError } from '../errors/to-driver-error.ts'
import type { CapabilityContext } from '../runtime/capability-context.ts'
import { type Timer } from '../runtime/clock.ts'
import { withDeadline } from '../runtime/deadline.ts'
import { randomBetween } from '../runtime/random.ts'
import type { OutgoingSignal, PublishReply, PubSubDriver } from './pubsub-driver.ts'

/** `sent`: the backend has it. `buffered`: it is away; the signal is kept and goes out in its turn, unless the buffer overflows or the process ends. */
export interface PublishResult {
  readonly status: 'sent' | 'buffered'
}

export interface OutboxParts {
  readonly lane: number
  readonly driver: PubSubDriver
  readonly context: CapabilityContext
  /** The signal that tells the others how many were dropped here. */
  readonly encodeLoss: (lost: number) => Uint8Array
}

interface Item {
  readonly topic: string
  readonly data: Uint8Array
  /** From when it was first sent on: then the backend may know it by that number. */
  sequence: number | undefined
  /** Whether the backend may have accepted it already. */
  isUncertain: boolean
  readonly addedMs: number
  /** How many dropped signals it stands for. */
  lost: number
  settle: { resolve(result: PublishResult): void; reject(error: unknown): void } | undefined
}

const mostItems = 10_000
const mostBytes = 8 * 1_048_576
const mostInBatch = 256
const firstBackoffMs = 50
/** An attempt costs next to nothing where nothing is there, and others wait for what is kept. */
const longestBackoffMs = 500

/**
 * What one node publishes in one lane: in order, each signal until it is accepted. While the backend is away signals are kept, at most 10,000 and 8 MiB; then the oldest go,
 * and one that says how many takes their place.
 */
export class Outbox {
  readonly #parts: OutboxParts
  readonly #items: Item[] = []
  #bytes = 0
  #accepted = 0
  #isAway = false
  #isSending = false
  #backoffMs = firstBackoffMs
  #timer: Timer | undefined
  #patience: Timer | undefined
  #ended: MultinodeError | undefined
  #onEmpty: (() => void) | undefined

  constructor(parts: OutboxParts) {
    this.#parts = parts
  }

  get size(): number {
    return this.#items.length
  }

  add(topic: string, data: Uint8Array): Promise<PublishResult> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    return new Promise((resolve, reject) => {
      const item: Item = {
        topic,
        data,
        sequence: undefined,
        isUncertain: false,
        addedMs: this.#parts.context.clock.monotonicMs(),
        lost: 0,
        settle: { resolve, reject },
      }
      this.#items.push(item)
      this.#bytes += data.byteLength
      while (this.#items.length > mostItems || this.#bytes > mostBytes) this.#dropOldest()
      if (this.#isAway) settle(item, 'buffered')
      else {
        if (this.#patience === undefined) this.#endPatience()
        void this.#pump()
      }
    })
  }

  /** Resolves when all was sent, at the latest after `deadlineMs`: with how many were not. */
  async flush(deadlineMs: number): Promise<number> {
    if (this.#items.length > 0) {
      const empty = new Promise<void>((resolve) => {
        const before = this.#onEmpty
        this.#onEmpty = () => {
          before?.()
          resolve()
        }
      })
      const { clock } = this.#parts.context
      const late = new MultinodeError('TIMEOUT', 'The buffer of signals was not empty in time.')
      await withDeadline(clock, deadlineMs, empty, () => late).catch(() => {})
    }
    return this.#items.length
  }

  end(reason: MultinodeError): void {
    this.#ended ??= reason
    this.#timer?.cancel()
    this.#stopPatience()
    for (const item of this.#items) item.settle?.reject(reason)
    this.#items.length = 0
  }

  /** Who has waited for as long as a call may take, behind others, is told that the signal is kept. */
  #endPatience(): void {
    const { clock, callTimeoutMs } = this.#parts.context
    this.#patience = undefined
    for (const item of this.#items) {
      if (item.settle === undefined) continue
      const leftMs = item.addedMs + callTimeoutMs * 1.05 - clock.monotonicMs()
      if (leftMs > 0) {
        this.#patience = clock.setTimer(() => this.#endPatience(), leftMs, 'background')
        return
      }
      settle(item, 'buffered')
    }
  }

  #stopPatience(): void {
    this.#patience?.cancel()
    this.#patience = undefined
  }

  /** One batch after the other. Never rejects. */
  async #pump(): Promise<void> {
    if (this.#isSending) return
    this.#isSending = true
    while (this.#items.length > 0 && this.#ended === undefined) {
      if (!(await this.#sendBatch())) break
    }
    this.#isSending = false
    this.#stopPatience()
    if (this.#items.length > 0) return
    this.#onEmpty?.()
    this.#onEmpty = undefined
  }

  /** @returns whether to go on at once */
  async #sendBatch(): Promise<boolean> {
    const batch = this.#items.slice(0, mostInBatch)
    const reply = await this.#publish(batch.map((item, index) => this.#numbered(item, index)))
    if (this.#ended !== undefined) return false
    this.#accept(reply.accepted)
    const { failure } = reply
    if (failure !== undefined && (!failure.isFinal || this.#isLossRefused(failure.error))) {
      this.#becomeAway()
      return false
    }
    // Who refuses is there.
    this.#isAway = false
    this.#backoffMs = firstBackoffMs
    if (failure !== undefined) this.#refuse(failure.error)
    return true
  }

  #numbered(item: Item, index: number): OutgoingSignal {
    item.sequence ??= this.#accepted + 1 + index
    const data = item.lost > 0 ? this.#parts.encodeLoss(item.lost) : item.data
    return { sequence: item.sequence, topic: item.topic, data }
  }

  async #publish(signals: readonly OutgoingSignal[]): Promise<PublishReply> {
    const { lane, driver, context } = this.#parts
    const { capability, backend, clock, callTimeoutMs } = context
    const request = { lane, signals, firstUnaccepted: this.#accepted + 1 }
    const late = (): MultinodeError =>
      new MultinodeError(
        'TIMEOUT',
        `pubsub on ${backend}: publish was not answered within ${callTimeoutMs} ms.`,
        {
          capability,
          backend,
          outcome: 'unknown',
        },
      )
    try {
      return await withDeadline(clock, callTimeoutMs * 1.05, driver.publish(request, callTimeoutMs), late)
    } catch (error) {
      return {
        accepted: 0,
        failure: {
          error: toDriverError(error, { capability, backend, operation: 'publish' }),
          isFinal: false,
        },
      }
    }
  }

  #accept(count: number): void {
    for (const item of this.#items.splice(0, count)) {
      this.#accepted += 1
      this.#bytes -= item.data.byteLength
      settle(item, 'sent')
    }
  }

  /** Nobody but the others can be told of what was dropped here, so that is tried for ever. */
  #isLossRefused(error: Error): boolean {
    const isLoss = (this.#items[0]?.lost ?? 0) > 0
    if (isLoss) this.#parts.context.report(error)
    return isLoss
  }

  /** The first one is no signal for this backend. */
  #refuse(error: Error): void {
    const isCertain = isMultinodeError(error) && error.outcome === 'not-sent'
    const isNumberFree = isCertain && !this.#items.some(({ isUncertain }) => isUncertain)
    const [refused] = this.#items.splice(0, 1)
    if (refused === undefined) return
    this.#bytes -= refused.data.byteLength
    if (refused.settle === undefined) this.#parts.context.report(error)
    else refused.settle.reject(error)
    // None after it was accepted, so these get other numbers. But by a number that the backend may know already, another signal would be taken for accepted.
    if (isNumberFree) for (const item of this.#items) item.sequence = undefined
    else this.#accepted += 1
  }

  #becomeAway(): void {
    this.#isAway = true
    for (const item of this.#items) {
      item.isUncertain = item.sequence !== undefined
      settle(item, 'buffered')
    }
    const delayMs = randomBetween(Math.ceil(this.#backoffMs / 2), this.#backoffMs)
    this.#backoffMs = Math.min(longestBackoffMs, this.#backoffMs * 2)
    this.#timer = this.#parts.context.clock.setTimer(() => void this.#pump(), delayMs, 'background')
  }

  /** Never one that was sent already: the backend may have it, by a number that no other signal may get. */
  #dropOldest(): void {
    const first = this.#items.findIndex(({ sequence }) => sequence === undefined)
    const oldest = this.#items[first]
    if (oldest === undefined) return
    if (oldest.lost === 0) {
      this.#bytes -= oldest.data.byteLength
      settle(oldest, 'buffered')
      this.#items[first] = {
        topic: oldest.topic,
        data: new Uint8Array(),
        sequence: undefined,
        isUncertain: false,
        addedMs: oldest.addedMs,
        lost: 1,
        settle: undefined,
      }
      return
    }
    const [dropped] = this.#items.splice(first + 1, 1)
    if (dropped === undefined) return
    this.#bytes -= dropped.data.byteLength
    settle(dropped, 'buffered')
    oldest.lost += 1
  }
}

function settle(item: Item, status: PublishResult['status']): void {
  item.settle?.resolve({ status })
  item.settle = undefined
}

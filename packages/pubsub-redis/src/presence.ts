import { type Clock, type Member, type SignalReceiver, type Timer } from '@multinode/core'
import type { LogReader } from './log-reader.ts'
import { type Accepted, aliveMs, type LogServer } from './log-server.ts'

const everyMs = 3_000
/** Nodes that come together are asked for once. */
const soonMs = 20

/** A log as it is now. */
interface WatchedLog {
  readonly server: LogServer
  readonly accepted: Accepted
  readonly reader: LogReader | undefined
}

export interface PresenceParts {
  /** Who is there is kept with the first one. */
  readonly logs: readonly WatchedLog[]
  readonly receiver: SignalReceiver
  readonly member: Omit<Member, 'sinceMs'>
  readonly clock: Clock
  readonly callTimeoutMs: number
}

/** Says every three seconds that this node is there, and hears who else is and where each log ends: one round trip a log. */
export class Presence {
  readonly #parts: PresenceParts
  readonly #known: string
  #timer: Timer | undefined
  #isEnded = false
  #isHurried = false
  #lastTickMs: number

  constructor(parts: PresenceParts) {
    this.#parts = parts
    // The script puts the time in.
    this.#known = JSON.stringify({ sinceMs: 0, ...parts.member })
    this.#lastTickMs = parts.clock.monotonicMs()
  }

  /** The first tick; the others follow by themselves. */
  async start(timeoutMs: number): Promise<void> {
    await this.#tick(timeoutMs)
    this.#schedule(everyMs)
  }

  /** Nodes came or went: asks at once. */
  hurry(): void {
    if (this.#isHurried || this.#isEnded) return
    this.#isHurried = true
    this.#schedule(soonMs)
  }

  stop(): void {
    this.#isEnded = true
    this.#timer?.cancel()
  }

  #schedule(delayMs: number): void {
    this.#timer?.cancel()
    this.#timer = this.#parts.clock.setTimer(() => void this.#tickAndGoOn(), delayMs, 'background')
  }

  /** Never rejects. */
  async #tickAndGoOn(): Promise<void> {
    const { clock, receiver, callTimeoutMs } = this.#parts
    this.#isHurried = false
    try {
      await this.#tick(Math.min(callTimeoutMs, everyMs))
    } catch {
      if (!this.#isEnded && clock.monotonicMs() - this.#lastTickMs > aliveMs) receiver.isolated(true)
    }
    // Nodes may have come or gone behind the question.
    if (!this.#isEnded) this.#schedule(this.#isHurried ? soonMs : everyMs)
  }

  async #tick(timeoutMs: number): Promise<void> {
    const { logs, receiver, clock } = this.#parts
    const positions = logs.map(({ reader }) => reader?.position)
    const ticks = await Promise.all(
      logs.map(({ server, accepted }) => server.tick(this.#known, accepted, timeoutMs)),
    )
    if (this.#isEnded) return
    this.#lastTickMs = clock.monotonicMs()
    receiver.isolated(false)
    const nodes = ticks[0]?.nodes ?? []
    receiver.members(nodes.map(toMember).sort((a, b) => a.sinceMs - b.sinceMs))
    for (const [index, { head }] of ticks.entries()) {
      const before = positions[index]
      if (before !== undefined) logs[index]?.reader?.check(head, before)
    }
  }
}

function toMember(text: string): Member {
  const { nodeId, incarnation, sinceMs, metadata } = JSON.parse(text)
  return {
    nodeId: String(nodeId),
    incarnation: String(incarnation),
    sinceMs: Number(sinceMs),
    metadata: { ...metadata },
  }
}

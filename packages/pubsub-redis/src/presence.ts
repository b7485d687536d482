import { type Clock, type Member, type SignalReceiver, type Timer } from '@multinode/core'
import type { LogReader } from './log-reader.ts'
import { type Accepted, aliveMs, type LogServer, type Ticked } from './log-server.ts'

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
  #epoch = ''
  #members: readonly Member[] = []
  #returning: { readonly members: readonly Member[]; readonly untilMs: number } = { members: [], untilMs: 0 }

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
    const ticks = await Promise.allSettled(
      logs.map(({ server, accepted }) => server.tick(this.#known, accepted, timeoutMs)),
    )
    if (this.#isEnded) return
    for (const [index, tick] of ticks.entries()) {
      const before = positions[index]
      if (tick.status === 'fulfilled' && before !== undefined) {
        logs[index]?.reader?.check(tick.value.head, before)
      }
    }
    const [first] = ticks
    if (first?.status !== 'fulfilled') throw first?.reason
    this.#lastTickMs = clock.monotonicMs()
    receiver.isolated(false)
    receiver.members(this.#withReturning(first.value).sort((a, b) => a.sinceMs - b.sinceMs))
  }

  /** A server that lost its data knows at first only who ticked since: the others are given the time to do that. */
  #withReturning({ head, nodes }: Ticked): Member[] {
    const members = nodes.map(toMember)
    const nowMs = this.#parts.clock.monotonicMs()
    if (head.epoch !== this.#epoch) this.#returning = { members: this.#members, untilMs: nowMs + aliveMs }
    this.#epoch = head.epoch
    const { members: before, untilMs } = this.#returning
    const known = new Set(members.map(({ incarnation }) => incarnation))
    if (nowMs < untilMs) members.push(...before.filter(({ incarnation }) => !known.has(incarnation)))
    this.#members = members
    return [...members]
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

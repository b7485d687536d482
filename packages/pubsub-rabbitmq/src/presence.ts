import type { Consumer, Delivery, Publisher, RabbitmqConnection } from '@multinode/connection-rabbitmq'
import {
  type Clock,
  type Member,
  MultinodeError,
  type SignalReceiver,
  type Timer,
  withDeadline,
} from '@multinode/core'
import type { BusNames } from './bus-names.ts'
import type { Heard } from './bus-reader.ts'
import type { ForeignMessages } from './foreign-messages.ts'

const everyMs = 3_000
/** How long after it was heard last a node counts as dead. */
const aliveMs = 10_000
/** As long as a node may wait before it connects again: who is back first must not take the others for dead. */
const comeBackMs = 10_000

export interface PresenceParts {
  readonly connection: RabbitmqConnection
  readonly names: BusNames
  readonly receiver: SignalReceiver
  readonly member: Member
  readonly clock: Clock
  /** The last numbers of this node. */
  readonly numbers: () => { readonly accepted: number; readonly sent: number }
  /** To be told what other publishers, and this one, say of theirs. */
  readonly onHeard: (source: string, heard: Heard) => void
  readonly foreign: ForeignMessages
}

/** What a node says of itself every few seconds, to all. */
interface Heartbeat {
  readonly v: 1
  /** `came`: all others answer at once, with `answer`. */
  readonly what: 'came' | 'answer' | 'here' | 'left'
  readonly member: Member
  readonly accepted: number
  readonly sent: number
  /** Of one who came: an answer names it. */
  readonly question: string
}

/** Says every three seconds that this node is there, and hears who else is. Nothing of it is kept: who hears nothing for ten seconds is alone. */
export class Presence {
  readonly #parts: PresenceParts
  readonly #publisher: Publisher
  readonly #consumer: Consumer
  readonly #members = new Map<string, { readonly member: Member; heardAtMs: number }>()
  /** Who was heard since the last question, though not in answer to it. */
  readonly #heardSince = new Set<string>()
  #questions = 0
  #queues = 0
  #timer: Timer | undefined
  #dueMs = 0
  #isMember = false
  #isEnded = false
  #onHeardSelf: () => void = () => {}

  constructor(parts: PresenceParts) {
    const { connection, names, member, clock } = parts
    this.#parts = parts
    this.#publisher = connection.publisher({
      name: 'heartbeats',
      confirmTimeoutMs: everyMs,
      setup: async (channel) => {
        await channel.assertExchange(names.presence, 'fanout', { durable: true })
      },
    })
    this.#members.set(member.incarnation, { member, heardAtMs: clock.monotonicMs() })
    const queue = (): string => `${names.presence}.${member.incarnation}.${this.#queues}`
    const attach = {
      // Another one each time: the server may still take a former one for used.
      get queue() {
        return queue()
      },
      prefetch: 0,
      noAck: true,
      setup: async (
        channel: Parameters<NonNullable<Parameters<typeof connection.consume>[0]['setup']>>[0],
      ) => {
        await channel.assertExchange(names.presence, 'fanout', { durable: true })
        await channel.assertQueue(queue(), { exclusive: true, autoDelete: true, durable: false })
        await channel.bindQueue(queue(), names.presence, '')
      },
      onAttached: () => this.#attached(),
      onDetached: () => (this.#queues += 1),
    }
    this.#consumer = connection.consume(attach, (delivery) => this.#hear(delivery))
  }

  /** Resolves when this node heard itself. Who is there is not told before `joined`. */
  async start(timeoutMs: number): Promise<void> {
    const heard = new Promise<void>((resolve) => (this.#onHeardSelf = resolve))
    const { clock } = this.#parts
    await withDeadline(clock, timeoutMs, heard, () => {
      return new MultinodeError(
        'TIMEOUT',
        'pubsub on rabbitmq: the first heartbeat did not come back in time.',
        {
          capability: 'pubsub',
          backend: 'rabbitmq',
        },
      )
    })
    this.#schedule()
  }

  /** A node that could not join would be left with members that nobody counts any more. */
  joined(): void {
    this.#isMember = true
    this.#tellMembers()
  }

  /** All others answer at once. Only what they say from then on is since the question. */
  ask(): void {
    this.#questions += 1
    this.#heardSince.clear()
    this.#say('came')
  }

  get #question(): string {
    return `${this.#parts.member.incarnation}/${this.#questions}`
  }

  async leave(timeoutMs: number): Promise<void> {
    this.#end()
    await this.#send('left', this.#question, timeoutMs)
  }

  async close(): Promise<void> {
    this.#end()
    await Promise.all([this.#consumer.close(), this.#publisher.close()])
  }

  #end(): void {
    this.#isEnded = true
    this.#timer?.cancel()
  }

  #schedule(): void {
    const { clock } = this.#parts
    this.#dueMs = clock.monotonicMs() + everyMs
    this.#timer = clock.setTimer(() => this.#tick(), everyMs, 'background')
  }

  #tick(): void {
    const { clock, receiver, connection, member } = this.#parts
    const nowMs = clock.monotonicMs()
    // Who is blocked by the server says nothing, like all the others; and while this process stood still it was deaf, and they were not silent.
    const deafMs = connection.state.status === 'blocked' ? nowMs : nowMs - this.#dueMs
    for (const each of this.#members.values()) {
      each.heardAtMs = Math.max(each.heardAtMs, Math.min(nowMs, each.heardAtMs + deafMs))
    }
    this.#say('here')
    this.#schedule()
    const self = this.#members.get(member.incarnation)
    if (self !== undefined && nowMs - self.heardAtMs > aliveMs) {
      // Who cannot hear itself knows nothing of the others.
      receiver.isolated(true)
      return
    }
    // Counted up to when this node heard itself, which was a heartbeat ago: who is deaf since then knows nothing of the others.
    const upToMs = self?.heardAtMs ?? nowMs
    const gone = [...this.#members].filter(([, { heardAtMs }]) => upToMs - heardAtMs > aliveMs - everyMs)
    for (const [incarnation] of gone) this.#members.delete(incarnation)
    if (gone.length > 0) this.#tellMembers()
  }

  /** What the others said meanwhile was not heard, and they may come back later than this node. */
  #attached(): void {
    const { clock, member } = this.#parts
    const fromMs = clock.monotonicMs() + (this.#queues === 0 ? 0 : comeBackMs)
    for (const [incarnation, each] of this.#members) {
      if (incarnation !== member.incarnation) each.heardAtMs = fromMs
    }
    this.#say('came')
  }

  #say(what: Heartbeat['what'], question: string = this.#question): void {
    // The next one comes soon.
    if (!this.#isEnded) this.#send(what, question, everyMs).catch(() => {})
  }

  #send(what: Heartbeat['what'], question: string, timeoutMs: number): Promise<void> {
    const { names, member, numbers } = this.#parts
    const heartbeat: Heartbeat = { v: 1, what, member, ...numbers(), question }
    const content = Buffer.from(JSON.stringify(heartbeat))
    return this.#publisher.publish({ exchange: names.presence, routingKey: '', content }, timeoutMs)
  }

  #hear({ message }: Delivery): void {
    const { receiver, clock, member: self, onHeard, foreign } = this.#parts
    let heartbeat: Heartbeat
    try {
      heartbeat = readHeartbeat(message.content)
    } catch (error) {
      return foreign.tell(error)
    }
    const { what, member, accepted, sent, question } = heartbeat
    const { incarnation } = member
    if (this.#isEnded) return
    if (what === 'left') {
      if (this.#members.delete(incarnation)) this.#tellMembers()
      return
    }
    const isNew = !this.#members.has(incarnation)
    const isSelf = incarnation === self.incarnation
    this.#members.set(incarnation, { member, heardAtMs: clock.monotonicMs() })
    if (isSelf) {
      receiver.isolated(false)
      this.#onHeardSelf()
    }
    if (what === 'came') this.#say('answer', question)
    if (isNew || isSelf) this.#tellMembers()
    onHeard(incarnation, { accepted, sent, isSinceBegin: this.#isSinceQuestion(heartbeat) })
  }

  /** What was on its way when this node asked says too little. Of two regular heartbeats the second one was not. */
  #isSinceQuestion({ what, question, member: { incarnation } }: Heartbeat): boolean {
    if (what === 'answer') return question === this.#question
    if (what !== 'here') return false
    const isSecond = this.#heardSince.has(incarnation)
    this.#heardSince.add(incarnation)
    return isSecond
  }

  #tellMembers(): void {
    if (!this.#isMember) return
    const members = [...this.#members.values()].map(({ member }) => member)
    this.#parts.receiver.members(members.sort((a, b) => a.sinceMs - b.sinceMs))
  }
}

function readHeartbeat(content: Buffer): Heartbeat {
  const { what, member, accepted, sent, question } = JSON.parse(content.toString('utf8'))
  const { nodeId, incarnation, sinceMs, metadata } = member
  return {
    v: 1,
    what: what === 'came' || what === 'answer' || what === 'left' ? what : 'here',
    member: {
      nodeId: String(nodeId),
      incarnation: String(incarnation),
      sinceMs: Number(sinceMs),
      metadata: { ...metadata },
    },
    accepted: Number(accepted),
    sent: Number(sent),
    question: String(question),
  }
}

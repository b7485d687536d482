import { setTimeout as sleep } from 'node:timers/promises'
import {
  figure,
  type RabbitmqServer,
  seededRandom,
  serversAvailable,
  startRabbitmq,
  stolenMs,
  waitUntil,
  withLateness,
} from '@multinode/testbed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { node } from './node.ts'
import { type RawChannel, rawChannel } from './raw-channel.ts'

const tickMs = 100
/** As the README says: by default 32 jobs at a time go from one step of a delay to the next. */
const advised = '[{rabbit, [{dead_letter_worker_consumer_prefetch, 1000}]}].'

interface Timed {
  readonly dueAtMs: number
}

/** How many ms each handler began after its job was due; negative when it was early. */
class LatenessLog {
  readonly #all: number[] = []

  note({ dueAtMs }: Timed): void {
    this.#all.push(Date.now() - dueAtMs)
  }

  get count(): number {
    return this.#all.length
  }

  /** Below which that part of all is. */
  part(part: number): number {
    const sorted = this.#all.toSorted((one, other) => one - other)
    return sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)] ?? Number.NaN
  }

  clear(): void {
    this.#all.length = 0
  }
}

/** How long the server takes, without us, for so many from one queue to the next when their time is over, and for their consumer. */
async function oneStep({ channel }: RawChannel, count: number): Promise<number> {
  const quorum = { 'x-queue-type': 'quorum' }
  const ttlMs = 3_000
  await channel.assertQueue('step-done', { durable: true, arguments: quorum })
  await channel.assertQueue('step', {
    durable: true,
    arguments: {
      ...quorum,
      'x-message-ttl': ttlMs,
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': 'step-done',
      'x-dead-letter-strategy': 'at-least-once',
      'x-overflow': 'reject-publish',
    },
  })
  let arrived = 0
  await channel.prefetch(1_000)
  await channel.consume('step-done', (message) => {
    if (message === null) return
    arrived += 1
    channel.ack(message)
  })
  const startedAtMs = performance.now()
  for (let each = 0; each < count; each += 1) channel.sendToQueue('step', Buffer.from('job'))
  await waitUntil('all to have gone a step', () => arrived === count, { deadlineMs: 60_000, everyMs: 5 })
  return Math.round(performance.now() - startedAtMs - ttlMs)
}

describe.skipIf(!serversAvailable())('a delayed job', () => {
  let server: RabbitmqServer
  beforeAll(async () => {
    server = await startRabbitmq({ advancedConfig: advised })
  })
  afterAll(() => server.stop())
  const count = figure({ slice: 500, full: 10_000 })
  const longestMs = figure({ slice: 5_000, full: 60_000 })

  it(
    `is never early, and hardly late: ${count} of 0.1 to ${longestMs / 1_000} s`,
    { timeout: longestMs + 120_000 },
    async ({ annotate }) => {
      const clusterName = 'random'
      await using adding = await node(server.url, { clusterName })
      await using one = await node(server.url, { clusterName })
      await using other = await node(server.url, { clusterName })
      await using raw = await rawChannel(server.url)
      const log = new LatenessLog()
      const random = seededRandom()
      for (const each of [one, other]) {
        const queue = each.queues.open<Timed>('jobs')
        await queue.process(({ payload }) => log.note(payload), { concurrency: 25 })
      }
      const queue = adding.queues.open<Timed>('jobs')
      // The delay line is made for the first one.
      await queue.add({ dueAtMs: Date.now() + longestMs }, { delayMs: longestMs })
      const add = async (): Promise<void> => {
        const delayMs = random.between(100, longestMs)
        await queue.add({ dueAtMs: Date.now() + delayMs }, { delayMs })
      }
      const ask = async (): Promise<unknown> => raw.channel.prefetch(1)
      const { mostMs: roomMs } = await withLateness(ask, async () => {
        for (let lot = 0; lot < count; lot += 50) await Promise.all(Array.from({ length: 50 }, add))
        const ran = (): boolean => log.count === count + 1
        await waitUntil('all to run', ran, { deadlineMs: longestMs + 60_000 })
      })
      await annotate(
        `seed ${random.seed}: late by ${log.part(0)} ms (least), ${log.part(0.5)} ms (median), ${log.part(0.99)} ms (p99), ${log.part(1)} ms (most), the machine by ${Math.round(roomMs)} ms`,
      )
      expect(log.part(0), 'never early').toBeGreaterThanOrEqual(0)
      // A job passes several queues, and the machine may be late at each.
      expect(log.part(0.99)).toBeLessThan(tickMs + 50 + 4 * roomMs + stolenMs())
    },
  )

  const burst = figure({ slice: 500, full: 5_000 })

  it(
    `is begun within 2 s, or what so many take for seven steps of the bare server, and not early, together with all others of that moment: ${burst}`,
    { timeout: 120_000 },
    async ({ annotate }) => {
      await using one = await node(server.url, { clusterName: 'burst', callTimeoutMs: 30_000 })
      await using raw = await rawChannel(server.url)
      const log = new LatenessLog()
      const queue = one.queues.open<Timed>('jobs')
      await queue.process(({ payload }) => log.note(payload), { concurrency: 100 })
      const ran = (): boolean => log.count === burst
      const stepMs = await oneStep(raw, burst)
      const runAt = new Date(Date.now() + 12_000)
      const payload = { dueAtMs: runAt.getTime() }
      const items = Array.from({ length: burst }, () => ({ payload, options: { runAt } }))
      expect((await queue.addMany(items)).every(({ status }) => status === 'added')).toBe(true)
      expect(Date.now(), 'the control: it was not yet due').toBeLessThan(payload.dueAtMs)
      const ask = async (): Promise<unknown> => raw.channel.prefetch(1_000)
      const allRan = (): Promise<unknown> => waitUntil('all to run', ran, { deadlineMs: 60_000 })
      const { mostMs: roomMs } = await withLateness(ask, allRan)
      await annotate(
        `the last one after ${log.part(1)} ms, one step of so many takes ${stepMs} ms, the machine late by ${Math.round(roomMs)} ms`,
      )
      expect(log.part(0), 'never early').toBeGreaterThanOrEqual(0)
      // 12 s are up to seven steps, and what each of them takes is the server's.
      expect(log.part(1)).toBeLessThan(Math.max(2_000, 7 * stepMs) + 4 * roomMs + stolenMs())
    },
  )

  it('the control: one with a time to live waits behind a longer one, in one queue for all', async () => {
    await using raw = await rawChannel(server.url)
    await raw.channel.assertQueue('due', { durable: true })
    await raw.channel.assertQueue('naive', {
      durable: true,
      arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'due' },
    })
    raw.channel.sendToQueue('naive', Buffer.from('long'), { expiration: 60_000 })
    raw.channel.sendToQueue('naive', Buffer.from('short'), { expiration: 100 })
    await raw.channel.waitForConfirms()
    await sleep(1_000)
    expect((await raw.channel.checkQueue('due')).messageCount).toBe(0)
  })

  it('the control: a copy with the headers of the server is dropped where it had been before', async () => {
    await using raw = await rawChannel(server.url)
    const seen: (object | undefined)[] = []
    const wait = (next: string) => ({
      durable: true,
      arguments: { 'x-message-ttl': 50, 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': next },
    })
    // Two waits, one after the other, as a delay has.
    await raw.channel.assertQueue('again', { durable: true })
    await raw.channel.assertQueue('wait-2', wait('again'))
    await raw.channel.assertQueue('wait-1', wait('wait-2'))
    await raw.channel.consume('again', (message) => {
      if (message === null) return
      seen.push(message.properties.headers)
      raw.channel.sendToQueue('wait-1', message.content, { headers: message.properties.headers ?? {} })
      raw.channel.ack(message)
    })
    raw.channel.sendToQueue('wait-1', Buffer.from('job'))
    await waitUntil('the first time', () => seen.length > 0)
    await sleep(1_000)
    expect(seen).toHaveLength(1)
    expect(seen[0]).toHaveProperty('x-death')
  })
})

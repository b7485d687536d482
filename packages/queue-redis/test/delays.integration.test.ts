import { figure, seededRandom, serversAvailable, startRedis, waitUntil } from '@multinode/testbed'
import { Queue as BullQueue } from 'bullmq'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { node } from './node.ts'

/** How many ms a handler began after the job was due, by both clocks; negative when it was early. */
interface Lateness {
  readonly oursMs: number
  readonly serversMs: number
}

interface Timed {
  readonly dueAtMs: number
}

/** Notes how late each job begins. */
class LatenessLog implements Disposable {
  readonly all: Lateness[] = []
  readonly #client: Redis

  constructor(url: string) {
    this.#client = new Redis(url)
  }

  async note({ dueAtMs }: Timed): Promise<void> {
    // At once: the question takes time itself.
    const oursMs = Date.now() - dueAtMs
    const [seconds, micros] = await this.#client.time()
    this.all.push({ oursMs, serversMs: Number(seconds) * 1_000 + Number(micros) / 1_000 - dueAtMs })
  }

  get early(): number {
    return this.all.filter(({ oursMs, serversMs }) => oursMs < 0 || serversMs < 0).length
  }

  /** Below which that part of all is. */
  part(part: number): number {
    const sorted = this.all.map(({ oursMs }) => oursMs).toSorted((one, other) => one - other)
    return sorted[Math.ceil(part * sorted.length) - 1] ?? Number.NaN
  }

  [Symbol.dispose](): void {
    this.#client.disconnect()
  }
}

/** The room of a machine on which others work, too. */
const roomMs = 450

describe.skipIf(!serversAvailable()).concurrent('a delayed job', () => {
  const count = figure({ slice: 500, full: 10_000 })
  const longestMs = figure({ slice: 4_000, full: 60_000 })

  it(
    `is never early, by the server's clock or ours, and hardly late: ${count} of 0.1 to ${longestMs / 1_000} s`,
    { timeout: longestMs + 60_000 },
    async ({ annotate }) => {
      await using server = await startRedis()
      await using adding = await node(server.url)
      await using one = await node(server.url)
      await using other = await node(server.url)
      using log = new LatenessLog(server.url)
      const random = seededRandom()
      const handler = ({ payload }: { readonly payload: Timed }): Promise<void> => log.note(payload)
      for (const each of [one, other])
        await each.queues.open<Timed>('jobs').process(handler, { concurrency: 25 })
      const queue = adding.queues.open<Timed>('jobs')
      const add = async (): Promise<void> => {
        const delayMs = random.between(100, longestMs)
        await queue.add({ dueAtMs: Date.now() + delayMs }, { delayMs })
      }
      for (let lot = 0; lot < count; lot += 50) await Promise.all(Array.from({ length: 50 }, add))
      await waitUntil('all to run', () => log.all.length === count, { deadlineMs: longestMs + 20_000 })
      await annotate(
        `seed ${random.seed}: late by ${log.part(0.5)} ms (median), ${log.part(0.99)} ms (p99), ${log.part(1)} ms (most)`,
      )
      expect(log.early).toBe(0)
      expect(log.part(0.99)).toBeLessThan(50 + roomMs)
    },
  )

  const burst = figure({ slice: 500, full: 5_000 })

  it(`is begun within 2 s, and not early, together with all others of that moment: ${burst}`, async ({
    annotate,
  }) => {
    await using server = await startRedis()
    await using one = await node(server.url)
    using log = new LatenessLog(server.url)
    const queue = one.queues.open<Timed>('jobs')
    await queue.process(({ payload }) => log.note(payload), { concurrency: 100 })
    const runAt = new Date(Date.now() + figure({ slice: 1_500, full: 4_000 }))
    const payload = { dueAtMs: runAt.getTime() }
    const items = Array.from({ length: burst }, () => ({ payload, options: { runAt } }))
    expect((await queue.addMany(items)).every(({ status }) => status === 'added')).toBe(true)
    expect(Date.now(), 'the control: it was not yet due').toBeLessThan(payload.dueAtMs)
    await waitUntil('all to run', () => log.all.length === burst)
    await annotate(`the last one after ${log.part(1)} ms`)
    expect(log.early).toBe(0)
    expect(log.part(1)).toBeLessThan(2_000 + roomMs)
  })

  it('the control: one that somebody moves to the front is seen to be early', async () => {
    await using server = await startRedis()
    await using one = await node(server.url)
    using log = new LatenessLog(server.url)
    const queue = one.queues.open<Timed>('jobs')
    const delayMs = 5_000
    const { id } = await queue.add({ dueAtMs: Date.now() + delayMs }, { delayMs })
    await queue.process(({ payload }) => log.note(payload))
    const client = new Redis(server.url, { maxRetriesPerRequest: null })
    const raw = new BullQueue('v1', { connection: client, prefix: '{shop:queue:jobs}' })
    await (await raw.getJob(id))?.promote()
    await waitUntil('it to run', () => log.all.length === 1)
    expect(log.early).toBe(1)
    await raw.close()
    client.disconnect()
  })

  it('that is due sooner is begun sooner, also when the worker already waits for a later one', async () => {
    await using server = await startRedis()
    await using one = await node(server.url)
    using log = new LatenessLog(server.url)
    const queue = one.queues.open<Timed>('jobs')
    await queue.process(({ payload }) => log.note(payload))
    for (const delayMs of [4_000, 2_000, 1_000, 500]) {
      await queue.add({ dueAtMs: Date.now() + delayMs }, { delayMs })
    }
    await waitUntil('all to run', () => log.all.length === 4)
    expect(log.early).toBe(0)
    expect(log.part(1)).toBeLessThan(50 + roomMs)
  })
})

import { setTimeout as sleep } from 'node:timers/promises'
import {
  figure,
  seededRandom,
  serversAvailable,
  startRedis,
  waitUntil,
  withLateness,
} from '@multinode/testbed'
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

  /**
   * Adds so many jobs, and waits until all of them ran.
   * @returns how much later this machine lets things be at its worst moment meanwhile, because others work on it, too
   */
  async untilAllRan(count: number, deadlineMs: number, add: () => Promise<unknown>): Promise<number> {
    const { mostMs } = await withLateness(
      async () => this.#client.ping(),
      async () => {
        await add()
        await waitUntil('all to run', () => this.all.length === count, { deadlineMs })
      },
    )
    return mostMs
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

describe.skipIf(!serversAvailable())('a delayed job', () => {
  const count = figure({ slice: 500, full: 10_000 })
  const longestMs = figure({ slice: 4_000, full: 60_000 })

  it(
    `is never early, by the server's clock or ours, and hardly late: ${count} of 0.1 to ${longestMs / 1_000} s`,
    { timeout: 3 * longestMs + 60_000 },
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
      // One after the other: of many at once the first ones would be due while others are still added, and wait for that.
      const roomMs = await log.untilAllRan(count, longestMs + 20_000, async () => {
        for (let added = 0; added < count; added += 1) {
          const delayMs = random.between(100, longestMs)
          await queue.add({ dueAtMs: Date.now() + delayMs }, { delayMs })
          await sleep(longestMs / count)
        }
      })
      await annotate(
        `seed ${random.seed}: late by ${log.part(0.5)} ms (median), ${log.part(0.99)} ms (p99), ${log.part(1)} ms (most), ` +
          `the machine by ${Math.round(roomMs)} ms`,
      )
      expect(log.early).toBe(0)
      expect(log.part(0.99)).toBeLessThan(150 + 2 * roomMs)
    },
  )

  const burst = figure({ slice: 500, full: 5_000 })

  it(
    `is begun within 2 s, and not early, together with all others of that moment: ${burst}`,
    { timeout: 60_000 },
    async ({ annotate }) => {
      await using server = await startRedis()
      await using one = await node(server.url)
      using log = new LatenessLog(server.url)
      const queue = one.queues.open<Timed>('jobs')
      await queue.process(({ payload }) => log.note(payload), { concurrency: 100 })
      const atOnce = { payload: { dueAtMs: Date.now() } }
      await log.untilAllRan(burst, 30_000, () => queue.addMany(Array.from({ length: burst }, () => atOnce)))
      const plainMs = log.part(1)
      log.all.length = 0
      const runAt = new Date(Date.now() + 8_000)
      const payload = { dueAtMs: runAt.getTime() }
      const items = Array.from({ length: burst }, () => ({ payload, options: { runAt } }))
      const roomMs = await log.untilAllRan(burst, 20_000, async () => {
        expect((await queue.addMany(items)).every(({ status }) => status === 'added')).toBe(true)
        expect(Date.now(), 'the control: it was not yet due').toBeLessThan(payload.dueAtMs)
      })
      await annotate(
        `the last one after ${log.part(1)} ms, without a delay after ${plainMs} ms, the machine late by ${Math.round(roomMs)} ms`,
      )
      expect(log.early).toBe(0)
      // What so many jobs take on this machine in any case is no lateness.
      expect(log.part(1)).toBeLessThan(Math.max(2_000, 1.5 * plainMs + 500) + 2 * roomMs)
    },
  )

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

  it('that is due sooner is begun sooner, also when the worker already waits for a later one', async ({
    annotate,
  }) => {
    await using server = await startRedis()
    await using one = await node(server.url)
    using log = new LatenessLog(server.url)
    const queue = one.queues.open<Timed>('jobs')
    await queue.process(({ payload }) => log.note(payload))
    const roomMs = await log.untilAllRan(4, 10_000, async () => {
      for (const delayMs of [4_000, 2_000, 1_000, 500]) {
        await queue.add({ dueAtMs: Date.now() + delayMs }, { delayMs })
      }
    })
    await annotate(`late by ${log.part(1)} ms, the machine by ${Math.round(roomMs)} ms`)
    expect(log.early).toBe(0)
    expect(log.part(1)).toBeLessThan(150 + 2 * roomMs)
  })
})

import { setTimeout as sleep } from 'node:timers/promises'
import {
  figure,
  type RedisServer,
  serversAvailable,
  startRedis,
  stolenMs,
  type TcpProxy,
  tcpProxy,
  waitUntil,
} from '@multinode/testbed'
import { Queue as BullQueue } from 'bullmq'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { JobsRun } from './jobs-run.ts'
import { node, untilOpen } from './node.ts'

/** What a script answers that has added a job: its id, a UUID. */
const isIdOfOurs = (chunk: Buffer): boolean => chunk.includes('$36\r\n')

interface Place extends AsyncDisposable {
  readonly server: RedisServer
  readonly proxy: TcpProxy
  readonly url: string
}

async function startPlace(): Promise<Place> {
  const server = await startRedis()
  const proxy = await tcpProxy(server.port)
  return {
    server,
    proxy,
    url: `redis://127.0.0.1:${proxy.port}`,
    async [Symbol.asyncDispose]() {
      await proxy.close()
      await server.stop()
    },
  }
}

describe.skipIf(!serversAvailable()).concurrent('an add whose answer is lost', { timeout: 120_000 }, () => {
  const times = figure({ slice: 30, full: 1_000 })

  it.for([
    ['a plain job', {}],
    ['a delayed one', { delayMs: 60_000 }],
    ['one with a dedupe key', { dedupe: { key: 'own' } }],
  ] as const)(`has added %s once: ${times} times`, async ([, options]) => {
    await using place = await startPlace()
    const { proxy } = place
    await using one = await node(place.url)
    const queue = one.queues.open<number>('jobs')
    await queue.add(-1)
    await queue.purge()
    let lost = 0
    const ids = new Set<string>()
    for (let round = 0; round < times; round += 1) {
      proxy.dropReply((chunk) => {
        if (!isIdOfOurs(chunk)) return false
        lost += 1
        return true
      })
      const dedupe = 'dedupe' in options ? { dedupe: { key: `own-${round}` } } : {}
      const { status, id } = await queue.add(round, { ...options, ...dedupe })
      expect(status).toBe('added')
      ids.add(id)
    }
    const { waiting, delayed } = await queue.counts()
    expect(Number(waiting) + Number(delayed)).toBe(times)
    expect(ids.size).toBe(times)
    for (const id of ids) expect(await queue.get(id)).toMatchObject({ id, attempt: 1 })
    expect(lost, 'the control: no first answer came').toBe(times)
  })

  it('has added each of 600 once that were sent together, and says so of each', async () => {
    await using place = await startPlace()
    await using one = await node(place.url)
    const queue = one.queues.open<number>('jobs')
    await queue.add(-1)
    let lost = 0
    place.proxy.dropReply((chunk) => {
      lost += Number(isIdOfOurs(chunk))
      return lost > 0
    })
    const results = await queue.addMany(Array.from({ length: 600 }, (_, payload) => ({ payload })))
    expect(results.map(({ status }) => status)).toEqual(results.map(() => 'added'))
    expect(await queue.counts()).toMatchObject({ waiting: 601 })
    expect(lost, 'the control').toBe(1)
  })

  it('the control: BullMQ that makes the id at the server adds it twice', async () => {
    await using place = await startPlace()
    const client = new Redis(place.url, { maxRetriesPerRequest: null })
    client.on('error', () => {})
    const raw = new BullQueue('raw', { connection: client })
    raw.on('error', () => {})
    await raw.add('job', {})
    const before = await raw.getWaitingCount()
    for (let round = 0; round < 5; round += 1) {
      place.proxy.dropReply()
      await raw.add('job', {})
    }
    expect((await raw.getWaitingCount()) - before).toBeGreaterThan(5)
    await raw.close()
    client.disconnect()
  })

  it('and that is given up says that its outcome is unknown: the job is there', async () => {
    await using place = await startPlace()
    const { server, proxy } = place
    await using other = await node(server.url)
    await using one = await untilOpen(place.url, { callTimeoutMs: 500 })
    const queue = one.queues.open<number>('jobs')
    const there = other.queues.open('jobs')
    // The first ones may be late, too, where others use the machine.
    await waitUntil('one to be added', () => queue.add(-1))
    const { waiting: before } = await there.counts()
    let lost = 0
    for (let round = 0; round < 5; round += 1) {
      proxy.dropReply((chunk) => {
        if (!isIdOfOurs(chunk)) return false
        lost += 1
        proxy.refuse()
        return true
      })
      await expect(queue.add(round)).rejects.toMatchObject({ outcome: 'unknown', retryable: true })
      // A call may give up before its answer comes, which would end the connection later, and for good.
      await waitUntil('the loss', () => lost > round)
      proxy.refuse(false)
      await waitUntil('the connection', async () => one.driver.ping(1_000).then(() => true))
    }
    expect(await there.counts()).toMatchObject({ waiting: Number(before) + 5 })
  })
})

describe.skipIf(!serversAvailable()).concurrent('an add whose answer is late', { timeout: 60_000 }, () => {
  const times = figure({ slice: 50, full: 1_000 })
  const callTimeoutMs = 400

  it(`settles in time, with an unknown outcome, and its job is there once: ${times}, 50 at once`, async () => {
    await using place = await startPlace()
    const { server, proxy } = place
    await using other = await node(server.url)
    await using one = await untilOpen(place.url, { callTimeoutMs })
    const jobs = new JobsRun()
    const queue = one.queues.open<number>('jobs')
    // The first ones may be late, too, where others use the machine.
    await waitUntil('one to be added', () => queue.add(-1))
    // There and back: longer than a call may take, and shorter than the silence of a link that is cut.
    proxy.delay(300)
    const took: number[] = []
    for (let lot = 0; lot < times; lot += 50) {
      took.push(...(await Promise.all(Array.from({ length: 50 }, () => jobs.add(queue)))))
    }
    expect(jobs.count('unknown')).toBe(times)
    // The last of them began when all others had been made ready.
    expect(Math.max(...took)).toBeLessThan(callTimeoutMs * 1.1 + 400 + stolenMs())
    proxy.heal()
    const there = other.queues.open<number>('jobs')
    await there.process(({ payload }) => {
      if (payload >= 0) jobs.ran(payload)
    })
    await waitUntil('all to run', () => jobs.unknownRun === times)
    expect(jobs).toMatchObject({ lost: 0, lies: 0, again: 0 })
  })
})

describe
  .skipIf(!serversAvailable())
  .concurrent('a worker that loses the answers to what became of its jobs', { timeout: 60_000 }, () => {
    const losses = figure({ slice: 5, full: 50 })

    it(`runs all jobs, and none is dead: ${losses} answers, each with the next job in it`, async ({
      annotate,
    }) => {
      await using place = await startPlace()
      const { server, proxy } = place
      await using adding = await node(server.url)
      await using one = await node(place.url)
      const jobs = new JobsRun()
      const queue = adding.queues.open<number>('jobs')
      const taking = one.queues.open<number>('jobs')
      const told = { stalled: 0, 'settle-ignored': 0 }
      for (const name of ['stalled', 'settle-ignored'] as const) taking.on(name, () => void (told[name] += 1))
      const total = losses * 40
      let dropped = 0
      await Promise.all(Array.from({ length: total }, () => jobs.add(queue)))
      await taking.process(
        async ({ payload }) => {
          jobs.ran(payload)
          // As many as ever until the last loss: else there might be no answer left that can be lost.
          if (dropped < losses) void jobs.add(queue)
          await sleep(5)
        },
        { concurrency: 4, leaseMs: 1_000 },
      )
      for (let loss = 1; loss <= losses; loss += 1) {
        await waitUntil('some', () => jobs.order.length >= (loss * total) / (losses + 1), { everyMs: 5 })
        const before = dropped
        // An answer with a job in it: its data has this field.
        proxy.dropReply((chunk) => {
          if (!chunk.includes('"v":1')) return false
          dropped += 1
          return true
        })
        await waitUntil('the loss', () => dropped > before, { everyMs: 5 })
      }
      await jobs.allRan()
      await waitUntil('none to be left', async () => {
        const { waiting, active, delayed } = await queue.counts()
        return waiting === 0 && active === 0 && delayed === 0
      })
      await annotate(`${String(jobs)}; ${JSON.stringify(told)}`)
      expect(jobs.lost).toBe(0)
      expect(await queue.counts()).toMatchObject({ dead: 0 })
      expect(told.stalled, 'the control: jobs were on their way').toBeGreaterThan(0)
      expect(jobs.again).toBeLessThanOrEqual(losses * 4)
    })
  })

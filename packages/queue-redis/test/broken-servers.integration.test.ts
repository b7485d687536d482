import { setTimeout as sleep } from 'node:timers/promises'
import { isMultinodeError } from '@multinode/core'
import {
  figure,
  type RedisServer,
  serversAvailable,
  startRedis,
  startSentinel,
  stolenMs,
  waitUntil,
} from '@multinode/testbed'
import { Queue as BullQueue, Worker as BullWorker } from 'bullmq'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { HalfOpen } from './half-open.ts'
import { node, untilOpen } from './node.ts'

const callTimeoutMs = 1_000
const leaseMs = 2_000

/** What became of a promise, and how long that took. */
async function timed(promise: Promise<unknown>): Promise<{ error: unknown; ms: number }> {
  const startedAtMs = performance.now()
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  return { error, ms: performance.now() - startedAtMs }
}

const states = {
  frozen: async (server: RedisServer): Promise<void> => server.pause(),
  killed: async (server: RedisServer): Promise<void> => void (await server.kill()),
}

describe.skipIf(!serversAvailable()).concurrent('while Redis is away', { timeout: 120_000 }, () => {
  it.for([
    ['frozen', 'unknown'],
    ['killed', 'not-sent'],
  ] as const)(
    '(%s) add settles within its time and a tenth, and says truly that its outcome is %s',
    async ([state, outcome]) => {
      await using server = await startRedis()
      await using one = await untilOpen(server.url, { callTimeoutMs })
      const queue = one.queues.open('jobs')
      // The first one may be late where others use the machine.
      await waitUntil('it to work', () => queue.add('before'))
      await states[state](server)
      const isNoticed = async (): Promise<boolean> => {
        const { error } = await timed(one.driver.ping(200))
        return isMultinodeError(error) && error.outcome === 'not-sent'
      }
      if (state === 'killed') await waitUntil('it to be noticed', isNoticed)
      // At once: a link that is silent for two calls is cut, and then nothing is sent any more.
      const [single, [first]] = await Promise.all([
        timed(queue.add('single')),
        queue.addMany([{ payload: 1 }, { payload: 2 }]),
      ])
      expect(single.error).toMatchObject({ outcome, retryable: true })
      expect(first).toMatchObject({ status: 'failed', error: { outcome, retryable: true } })
      expect(single.ms).toBeLessThan(callTimeoutMs * 1.1 + 100 + stolenMs())
      if (state === 'frozen') server.resume()
    },
  )

  it.for(['frozen', 'killed'] as const)(
    '(%s) a worker closes within its grace and a second, idle and busy, and the node after it',
    async (state) => {
      await using server = await startRedis()
      const one = await node(server.url, { callTimeoutMs: 10 * callTimeoutMs })
      const started: unknown[] = []
      const idle = await one.queues.open('idle').process(() => {})
      const busy = await one.queues.open('busy').process(
        async ({ payload, signal }) => {
          started.push(payload)
          await new Promise((resolve) => signal.addEventListener('abort', resolve))
        },
        { leaseMs },
      )
      await one.queues.open('busy').add(1)
      await waitUntil('it to run', () => started.length > 0)
      await states[state](server)
      const closed = await Promise.all([
        timed(idle.close({ graceMs: 200 })),
        timed(busy.close({ graceMs: 200 })),
      ])
      for (const { error, ms } of closed) {
        expect(error).toBeUndefined()
        expect(ms).toBeLessThan(200 + 1_000 + stolenMs())
      }
      expect((await timed(one.close())).ms).toBeLessThan(1_500 + stolenMs())
      if (state === 'frozen') server.resume()
    },
  )

  it("(frozen) the control: BullMQ's worker does not close when a job ends meanwhile", async () => {
    await using server = await startRedis()
    const client = new Redis(server.url, { maxRetriesPerRequest: null })
    client.on('error', () => {})
    const queue = new BullQueue('raw', { connection: client })
    let end = (): void => {}
    let isRunning = false
    const gate = new Promise<void>((resolve) => (end = resolve))
    const worker = new BullWorker(
      'raw',
      async () => {
        isRunning = true
        await gate
      },
      { connection: client },
    )
    worker.on('error', () => {})
    await queue.add('job', {})
    await waitUntil('it to run', () => isRunning)
    await server.pause()
    end()
    const closing = worker.close()
    const isClosed = await Promise.race([
      closing.then(
        () => true,
        () => true,
      ),
      sleep(3_000, false),
    ])
    expect(isClosed).toBe(false)
    server.resume()
    await closing
    await queue.close()
    client.disconnect()
  })

  it('(frozen) for longer than a lease, the job that runs is told, by the clock of its own node', async () => {
    await using server = await startRedis()
    await using one = await node(server.url, { callTimeoutMs: 10_000 })
    const queue = one.queues.open('jobs')
    const reasons: unknown[] = []
    let runs = 0
    await queue.process(
      async ({ signal }) => {
        runs += 1
        if (runs > 1) return
        await new Promise((resolve) => signal.addEventListener('abort', resolve))
        reasons.push(signal.reason)
      },
      { leaseMs },
    )
    await queue.add(1)
    await waitUntil('it to run', () => runs === 1)
    await server.pause()
    const frozenAtMs = performance.now()
    await waitUntil('it to be told', () => reasons.length > 0)
    expect(performance.now() - frozenAtMs).toBeLessThan(leaseMs * 1.25 + 500 + stolenMs())
    expect(reasons).toEqual(['lock-lost'])
    server.resume()
    await waitUntil('it to run again', () => runs === 2)
  })
})

describe
  .skipIf(!serversAvailable())
  .concurrent('a server that refuses for a moment', { timeout: 60_000 }, () => {
    it('is not taken for a failure of the jobs that end then: each is done, once', async () => {
      await using server = await startRedis()
      await using one = await node(server.url, { callTimeoutMs: 10 * callTimeoutMs })
      await using hasty = await untilOpen(server.url, { callTimeoutMs })
      const queue = one.queues.open<number>('jobs')
      const refusing = hasty.queues.open<number>('jobs')
      await waitUntil('it to be open', () => refusing.counts())
      let open = (): void => {}
      const gate = new Promise<void>((resolve) => (open = resolve))
      const runs: number[] = []
      await queue.process(
        async ({ payload }) => {
          runs.push(payload)
          await gate
        },
        { concurrency: 3 },
      )
      for (const payload of [1, 2, 3]) await queue.add(payload)
      await waitUntil('all to run', () => runs.length === 3)
      await server.cli('CONFIG', 'SET', 'min-replicas-to-write', '1')
      open()
      await waitUntil('all to end', () => one.queues.stats().completed === 3)
      // Tried again until its time is over, which may be in the middle of a try.
      const refused = { code: expect.stringMatching(/^(UNAVAILABLE|TIMEOUT)$/), retryable: true }
      await expect(refusing.add(4), 'the control').rejects.toMatchObject(refused)
      expect(await queue.counts(), 'the control').toMatchObject({ active: 3 })
      await server.cli('CONFIG', 'SET', 'min-replicas-to-write', '0')
      await waitUntil('all to be done', async () => (await queue.counts()).active === 0)
      expect(await queue.counts()).toMatchObject({ waiting: 0, delayed: 0, dead: 0 })
      expect(runs).toEqual([1, 2, 3])
      expect(one.queues.stats()).toMatchObject({ settleIgnored: 0, failed: 0 })
    })

    it('is told of by each job that is added, with what to do, and by a worker once', async () => {
      await using server = await startRedis({
        users: [{ name: 'app', password: 'of-app', rules: '~* &* +@all' }],
      })
      await using one = await node(
        server.url.replace('//', '//app:of-app@').replace('//app:of-app@:@', '//app:of-app@'),
      )
      const queue = one.queues.open('jobs')
      await queue.process(() => {})
      await queue.add(1)
      await waitUntil('it to be done', () => one.queues.stats().completed === 1)
      await server.cli('ACL', 'SETUSER', 'app', '-evalsha', '-eval')
      const [first, second] = await queue.addMany([{ payload: 1 }, { payload: 2 }])
      for (const reply of [first, second]) {
        expect(reply).toMatchObject({
          status: 'failed',
          error: { code: 'MISCONFIGURED', outcome: 'not-sent' },
        })
      }
      await waitUntil('it to be told', () => one.reported.length > 0)
      await sleep(1_500)
      expect(one.reported).toMatchObject([
        { code: 'MISCONFIGURED', message: expect.stringContaining('README') },
      ])
      await server.cli('ACL', 'SETUSER', 'app', '+@all')
      await queue.add(3)
      await waitUntil('it to go on', () => one.queues.stats().completed === 2)
    })
  })

describe.skipIf(!serversAvailable()).concurrent('a worker', { timeout: 240_000 }, () => {
  it('whose links are half-open, so that its fetch never ends, is replaced and takes jobs again', async () => {
    await using server = await startRedis()
    await using relay = await HalfOpen.start(server.url)
    // So long that no link is cut for its silence.
    await using one = await node(relay.url, { callTimeoutMs: 60_000 })
    const queue = one.queues.open('jobs')
    const seen: unknown[] = []
    const before = relay.count
    const worker = await queue.process(({ payload }) => void seen.push(payload), { leaseMs })
    await queue.add('before')
    await waitUntil('it to run', () => seen.length === 1)
    const links = relay.count
    relay.silence(before)
    const silentAtMs = performance.now()
    await queue.add('after')
    await waitUntil('it to run', () => seen.length === 2, { deadlineMs: 20_000 })
    expect(performance.now() - silentAtMs, 'the control: it was stuck').toBeGreaterThan(2_000)
    expect(relay.swallowed, 'the control').toBeGreaterThan(0)
    expect(relay.count, 'the control').toBeGreaterThanOrEqual(links + 2)
    await queue.add('later')
    await waitUntil('it to run', () => seen.length === 3)
    await worker.close({ graceMs: 0 })
  })

  const kills = figure({ slice: 3, full: 10 })

  it(`loses no job over ${kills} kills of the server with AOF, and few run twice`, async ({ annotate }) => {
    await using server = await startRedis({ aof: true })
    await using adding = await node(server.url, { callTimeoutMs: 20_000 })
    await using working = await node(server.url, { callTimeoutMs: 20_000 })
    const concurrency = 20
    const jobs = 2_000
    const runs = new Map<unknown, number>()
    await working.queues.open('jobs').process(
      async ({ payload }) => {
        await sleep(5)
        runs.set(payload, (runs.get(payload) ?? 0) + 1)
      },
      { concurrency, leaseMs },
    )
    const queue = adding.queues.open<number>('jobs')
    const added = new Set<number>()
    let killed = 0
    const lanes = Array.from({ length: 16 }, async (_, lane) => {
      for (let each = lane; each < jobs; each += 16) {
        await queue.add(each)
        added.add(each)
      }
    })
    const kill = async (): Promise<void> => {
      for (; killed < kills; killed += 1) {
        const goal = ((killed + 1) * jobs) / (kills + 1)
        await waitUntil('some', () => added.size >= goal, { deadlineMs: 30_000 })
        await server.kill()
        await server.restart()
      }
    }
    await Promise.all([...lanes, kill()])
    await waitUntil('all', () => runs.size === jobs, { deadlineMs: 60_000 })
    const twice = [...runs.values()].reduce((sum, count) => sum + count - 1, 0)
    await annotate(`${twice} of ${jobs} ran twice, after ${kills} kills`)
    expect(added.size).toBe(jobs)
    expect(killed).toBe(kills)
    expect(twice).toBeLessThanOrEqual(kills * concurrency)
  })

  it('goes on within ten seconds after Sentinels have a new master', async () => {
    await using sentinel = await startSentinel({ replicas: 1, downAfterMs: 1_000 })
    await using one = await node(sentinel.url, { callTimeoutMs: 20_000 })
    const queue = one.queues.open('jobs')
    const seen: unknown[] = []
    await queue.process(({ payload }) => void seen.push(payload), { leaseMs })
    await queue.add('before')
    await waitUntil('it to run', () => seen.length === 1)
    await sentinel.ready()
    const master = await sentinel.master()
    await sentinel.killMaster()
    await sentinel.masterAfter(master)
    const promotedAtMs = performance.now()
    await queue.add('after')
    await waitUntil('it to run', () => seen.includes('after'), { deadlineMs: 20_000 })
    expect(performance.now() - promotedAtMs).toBeLessThan(10_000 + stolenMs())
    expect(one.reported.filter((error) => !isMultinodeError(error) || !error.retryable)).toEqual([])
  })
})

describe.skipIf(!serversAvailable()).concurrent('two libraries', () => {
  it('BullMQ on its own sees what waits here, by the name and the prefix that the README tells', async () => {
    await using server = await startRedis()
    await using one = await node(server.url)
    await one.queues.open('jobs').addMany([{ payload: 1 }, { payload: 2 }])
    const client = new Redis(server.url, { maxRetriesPerRequest: null })
    const raw = new BullQueue('v1', { connection: client, prefix: '{shop:queue:jobs}' })
    expect(await raw.getWaitingCount()).toBe(2)
    await raw.close()
    client.disconnect()
  })
})

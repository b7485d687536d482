import { slotPrefix } from '@multinode/connection-redis'
import { pluginContext } from '@multinode/core/testing'
import {
  type RedisServer,
  serversAvailable,
  spawnNode,
  startCluster,
  startRedis,
  stolenMs,
  waitUntil,
} from '@multinode/testbed'
import { Queue as BullQueue, Worker as BullWorker } from 'bullmq'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { clusterName, node } from './node.ts'

const awkwardNames = ['mails', 'a.b', 'a:b', '{x}', '%7B', 'with space', '@', 'ünïcode', '{', '}']
const leaseMs = 2_000
const { clock: systemClock } = pluginContext()

async function keysOf(server: RedisServer): Promise<string[]> {
  const keys = await server.cli('KEYS', '*')
  return Array.isArray(keys) ? keys.map(String) : []
}

describe.skipIf(!serversAvailable()).concurrent('what queues leave in Redis', () => {
  it('is under one hash tag for each queue, with the version in the key, whatever its name', async () => {
    await using server = await startRedis()
    await using one = await node(server.url)
    for (const name of awkwardNames) await one.queues.open(name).add(name, { dedupe: { key: 'k' } })
    const prefixes = awkwardNames.map((name) => `${slotPrefix(clusterName, 'queue', name)}:v1:`)
    const keys = await keysOf(server)
    expect(keys.filter((key) => !prefixes.some((prefix) => key.startsWith(prefix)))).toEqual([])
    for (const prefix of prefixes) {
      expect(keys.filter((key) => key.startsWith(prefix)).length).toBeGreaterThanOrEqual(3)
    }
  })

  it('is nothing of a job that is done', async () => {
    await using server = await startRedis()
    await using one = await node(server.url)
    const queue = one.queues.open('jobs')
    const { id } = await queue.add(1, { dedupe: { key: 'k' } })
    expect((await keysOf(server)).filter((key) => key.includes(id) || key.endsWith(':de:k'))).toHaveLength(2)
    await queue.process(() => {})
    await waitUntil('it to be done', async () => {
      const keys = await keysOf(server)
      return !keys.some((key) => key.includes(id) || key.endsWith(':de:k'))
    })
  })

  it('is spread over the masters of a Cluster: 60 queues, each of which works, and no master has less than 15 %', async () => {
    await using cluster = await startCluster({ masters: 3 })
    await using one = await node(cluster.url)
    const seen = new Set<unknown>()
    const names = Array.from({ length: 60 }, (_, index) => `queue-${index}`)
    for (const name of names) {
      const results = await one.queues
        .open(name)
        .addMany([{ payload: name }, { payload: name, options: { delayMs: 1 } }])
      expect(results.map(({ status }) => status)).toEqual(['added', 'added'])
    }
    const counts = await Promise.all(
      cluster.nodes.map(async (each) => {
        const keys = await keysOf(each)
        return keys.filter((key) => key.endsWith(':meta')).length
      }),
    )
    expect(counts.reduce((sum, count) => sum + count)).toBe(60)
    expect(Math.min(...counts)).toBeGreaterThanOrEqual(60 * 0.15)
    for (const name of names.slice(0, 6))
      await one.queues.open(name).process(({ payload }) => void seen.add(payload))
    await waitUntil('six of them to run', () => seen.size === 6)
    expect(one.reported).toEqual([])
  })

  it('that somebody else wrote is a dead letter, and keeps nobody from running', async () => {
    await using server = await startRedis()
    await using one = await node(server.url)
    const queue = one.queues.open('jobs')
    await queue.counts()
    const client = new Redis(server.url, { maxRetriesPerRequest: null })
    const raw = new BullQueue('v1', { connection: client, prefix: slotPrefix(clusterName, 'queue', 'jobs') })
    await raw.add('foreign', { hello: 'world' }, { jobId: 'theirs' })
    const seen: unknown[] = []
    await queue.process(({ payload }) => void seen.push(payload))
    await queue.add('ours')
    await waitUntil('ours to run', () => seen.length > 0)
    const letters = await waitUntil('a dead letter', async () => {
      const all = await queue.deadLetters.list()
      return all.length > 0 && all
    })
    expect(letters).toMatchObject([
      { id: 'theirs', payload: { hello: 'world' }, failure: { reason: 'invalid', attempts: 1 } },
    ])
    expect(seen).toEqual(['ours'])
    await raw.close()
    client.disconnect()
  })
})

describe.skipIf(!serversAvailable()).concurrent('a server that is not fit for queues', () => {
  const refused = { code: 'MISCONFIGURED', message: expect.stringContaining('(strict)') }

  it.each([
    [['--maxmemory-policy', 'allkeys-lru'], /maxmemory-policy allkeys-lru.*noeviction/, 'aof-always'],
    [['--appendonly', 'no'], /appendonly yes/, 'none'],
  ])('(%o) is told of once, and refused when strict', async (args, reason, persistence) => {
    await using server = await startRedis({ aof: true, args })
    await using one = await node(server.url)
    await one.driver.ping(10_000)
    expect(one.warnings).toEqual([expect.stringMatching(reason)])
    expect(one.driver.features).toMatchObject({ persistence })
    expect(one.driver.concerns).toEqual([expect.stringMatching(reason)])
    await expect(node(server.url, { strict: true })).rejects.toMatchObject(refused)
  })

  it('because its clock is 5 s off is told of, and refused when strict', async () => {
    await using server = await startRedis({ aof: true })
    const clock = { ...systemClock, wallMs: () => Date.now() + 5_000 }
    await using one = await node(server.url, { clock })
    // The time of the round trip is given to it.
    expect(one.warnings).toEqual([expect.stringMatching(/clock is about [345] s behind this node's/)])
    await expect(node(server.url, { strict: true, clock })).rejects.toMatchObject(refused)
    const slow = { ...systemClock, wallMs: () => Date.now() - 5_000 }
    await using other = await node(server.url, { clock: slow })
    expect(other.warnings).toEqual([expect.stringMatching(/clock is about [345] s ahead of this node's/)])
  })

  it('later on is noticed by ping, which rejects when strict', async () => {
    await using server = await startRedis({ aof: true })
    await using lax = await node(server.url)
    await using strict = await node(server.url, { strict: true })
    await strict.driver.ping(10_000)
    expect(lax.driver.concerns).toEqual([])
    await server.cli('CONFIG', 'SET', 'maxmemory-policy', 'volatile-ttl')
    await lax.driver.ping(10_000)
    await lax.driver.ping(10_000)
    expect(lax.warnings).toEqual([expect.stringMatching(/volatile-ttl/)])
    await expect(strict.driver.ping(10_000)).rejects.toMatchObject(refused)
  })

  it('leaves no connection open when it is refused', async () => {
    await using server = await startRedis({ aof: true, args: ['--maxmemory-policy', 'allkeys-lru'] })
    await expect(node(server.url, { strict: true })).rejects.toMatchObject(refused)
    const clients = async (): Promise<number> =>
      String(await server.cli('CLIENT', 'LIST'))
        .trim()
        .split('\n').length
    await waitUntil('no client', async () => (await clients()) === 1)
    expect(await clients(), 'that which asks').toBe(1)
  })
})

describe.skipIf(!serversAvailable()).concurrent('a job', () => {
  it(
    'of a worker that was killed is taken over within a lease, a sweep and a second, and says that it was taken before',
    { timeout: 60_000 },
    async () => {
      await using server = await startRedis()
      await using one = await node(server.url)
      const queue = one.queues.open('jobs')
      const { id } = await queue.add(1)
      const taker = await spawnNode(new URL('fixtures/taker.ts', import.meta.url), {
        env: { REDIS_URL: server.url, LEASE_MS: String(leaseMs) },
      })
      await taker.nextLine(`took ${id}`)
      const stalled: string[] = []
      const runs: { readonly redelivered: boolean; readonly attempt: number }[] = []
      queue.on('stalled', (event) => void stalled.push(event.id))
      await queue.process(({ redelivered, attempt }) => void runs.push({ redelivered, attempt }), { leaseMs })
      await waitUntil('another lease to begin', async () => {
        const ms = Number(
          await server.cli('PTTL', `${slotPrefix(clusterName, 'queue', 'jobs')}:v1:${id}:lock`),
        )
        return ms > leaseMs - 100
      })
      expect(runs, 'the control: it is not taken from one that lives').toEqual([])
      await taker.kill()
      const killedAtMs = performance.now()
      await waitUntil('it to run', () => runs.length > 0)
      expect(performance.now() - killedAtMs).toBeLessThan(leaseMs * 1.25 + 1_000 + stolenMs())
      expect(runs).toEqual([{ redelivered: true, attempt: 1 }])
      expect(stalled).toEqual([id])
    },
  )

  it('whose lock is removed while it runs is aborted within a quarter of its lease and 250 ms, and is completed once', async () => {
    await using server = await startRedis()
    await using one = await node(server.url)
    const queue = one.queues.open('jobs')
    const lockOf = (id: string): string => `${slotPrefix(clusterName, 'queue', 'jobs')}:v1:${id}:lock`
    const events: string[] = []
    for (const name of ['active', 'completed', 'lock-lost', 'settle-ignored', 'stalled'] as const) {
      queue.on(name, () => void events.push(name))
    }
    let abortedAtMs = 0
    let runs = 0
    await queue.process(
      async ({ signal }) => {
        runs += 1
        if (runs > 1) return
        await new Promise<void>((resolve) => {
          signal.addEventListener('abort', () => {
            abortedAtMs = performance.now()
            expect(signal.reason).toBe('lock-lost')
            resolve()
          })
        })
      },
      { leaseMs },
    )
    const { id } = await queue.add(1)
    await waitUntil('it to run', () => runs === 1)
    const removedAtMs = performance.now()
    expect(await server.cli('DEL', lockOf(id))).toBe(1)
    await waitUntil('it to be done', async () => (await queue.counts()).active === 0 && runs > 1)
    expect(abortedAtMs - removedAtMs).toBeLessThan(leaseMs / 4 + 250 + stolenMs())
    expect(events).toEqual(['active', 'lock-lost', 'settle-ignored', 'stalled', 'active', 'completed'])
  })

  it('the control: BullMQ itself aborts nothing when the lock of a job is removed', async () => {
    await using server = await startRedis()
    const client = new Redis(server.url, { maxRetriesPerRequest: null })
    const queue = new BullQueue('raw', { connection: client })
    const renewals: unknown[] = []
    let wasAborted: boolean | undefined
    let isRunning = false
    const worker = new BullWorker(
      'raw',
      async (_job, _token, signal) => {
        isRunning = true
        await waitUntil('three renewals to fail', () => renewals.length >= 3)
        wasAborted = signal?.aborted
      },
      { connection: client, lockDuration: leaseMs },
    )
    worker.on('error', () => {})
    worker.on('lockRenewalFailed', (ids) => void renewals.push(ids))
    const { id } = await queue.add('job', {})
    await waitUntil('it to run', () => isRunning)
    await server.cli('DEL', `bull:raw:${id}:lock`)
    await waitUntil('it to end', () => wasAborted !== undefined)
    expect(wasAborted).toBe(false)
    await worker.close(true)
    await queue.close()
    client.disconnect()
  })

  it('that is made to wait again has all its attempts and all its crashes before it', async () => {
    await using server = await startRedis()
    await using one = await node(server.url)
    const queue = one.queues.open('jobs', { attempts: 2, backoff: { type: 'fixed', delayMs: 1 } })
    const prefix = `${slotPrefix(clusterName, 'queue', 'jobs')}:v1:`
    const attempts: number[] = []
    const worker = await queue.process(({ attempt }) => {
      attempts.push(attempt)
      throw new Error('no')
    })
    const { id } = await queue.add(1)
    await waitUntil('a dead letter', async () => (await queue.counts()).dead === 1)
    await worker.close()
    await server.cli('HSET', `${prefix}${id}`, 'stc', '5')
    expect(await queue.deadLetters.redrive({ ids: [id, 'nobody'] })).toBe(1)
    expect(await server.cli('HMGET', `${prefix}${id}`, 'stc', 'atm', 'failedReason')).toEqual([
      null,
      null,
      null,
    ])
    expect(await queue.get(id)).toMatchObject({ state: 'waiting', attempt: 1 })
    expect(attempts).toEqual([1, 2])
  })
})

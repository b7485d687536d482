import { setTimeout as sleep } from 'node:timers/promises'
import { slotPrefix } from '@multinode/connection-redis'
import {
  figure,
  type RedisCluster,
  type RedisSentinel,
  type RedisServer,
  serversAvailable,
  startCluster,
  startSentinel,
  stolenMs,
  waitUntil,
} from '@multinode/testbed'
import { Queue as BullQueue, Worker as BullWorker } from 'bullmq'
import { Cluster, Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { JobLedger } from './job-ledger.ts'
import { clusterName, node } from './node.ts'

const callTimeoutMs = 20_000
const leaseMs = 2_000
const downAfterMs = 1_000
const backMs = 10_000
const concurrency = 20
const lanes = 8
/** So slow that jobs wait: those that nobody has taken are what a failover can lose. */
const handlerMs = 50

type How = 'killed' | 'changed on command'

/** Where jobs go, and what runs them. */
interface Jobs {
  readonly ledger: JobLedger
  readonly add: (job: string) => Promise<unknown>
  /** How many there are. */
  readonly left: () => Promise<number>
}

interface Outcome {
  /** All times are since the fault. */
  readonly deadMs: number
  readonly promotedMs: number
  /** When a job that was added after that was begun. */
  readonly flowsMs: number
  /** When those that were lost had been acknowledged. */
  readonly lostMs: readonly number[]
  readonly refused: number
}

describe.skipIf(!serversAvailable()).concurrent('behind Sentinels', { timeout: 400_000 }, () => {
  const times = figure({ slice: 1, full: 5 })

  it.for(['killed', 'changed on command'] as const)(
    `jobs flow again within 10 s of a new master when the old one is %s, and only those of that moment are lost: ${times} times`,
    async (how, { annotate }) => {
      for (let time = 0; time < times; time += 1) {
        await using sentinel = await startSentinel({ replicas: 1, downAfterMs })
        await using one = await node(sentinel.url, { callTimeoutMs })
        await using other = await node(sentinel.url, { callTimeoutMs })
        const ledger = new JobLedger()
        const work = async ({ payload }: { readonly payload: string }): Promise<void> => {
          ledger.begin()
          await sleep(handlerMs)
          ledger.ran(payload)
        }
        await other.queues.open<string>('jobs').process(work, { concurrency, leaseMs })
        const queue = one.queues.open<string>('jobs')
        const outcome = await failThrough(sentinel, how, {
          ledger,
          add: (job) => queue.add(job),
          left: async () => {
            const { waiting, active } = await queue.counts()
            return Number(waiting) + Number(active)
          },
        })
        await annotate(summary(ledger, outcome))
        expect(outcome.flowsMs - outcome.promotedMs).toBeLessThan(backMs + stolenMs())
        // Replicas are behind by moments; and Sentinels tell of a change when it is made. This process hears of what was acknowledged when it comes to its turn.
        const window = [-1_000, (how === 'killed' ? outcome.deadMs : outcome.promotedMs + 1_000) + stolenMs()]
        expect(outcome.lostMs.filter((ms) => ms < Number(window[0]) || ms > Number(window[1]))).toEqual([])
        const awayMs = how === 'killed' ? downAfterMs : 0
        expect(outcome.flowsMs, 'the control: there was none for a while').toBeGreaterThan(awayMs)
      }
    },
  )

  it('the control: bare BullMQ goes on at the old master when it is changed on command, and loses what it adds there', async ({
    annotate,
  }) => {
    await using sentinel = await startSentinel({ replicas: 1, downAfterMs })
    const client = new Redis({
      sentinels: sentinel.sentinels.map((port) => ({ host: '127.0.0.1', port })),
      name: sentinel.name,
      maxRetriesPerRequest: null,
    })
    client.on('error', () => {})
    const ledger = new JobLedger()
    const queue = new BullQueue<string>('raw', { connection: client })
    const worker = new BullWorker<string>(
      'raw',
      async ({ data }) => {
        ledger.begin()
        // So slow that jobs wait also where adding is slow: what nobody has taken is lost.
        await sleep(3 * handlerMs)
        ledger.ran(data)
      },
      { connection: client, concurrency, lockDuration: leaseMs, stalledInterval: leaseMs / 4 },
    )
    queue.on('error', () => {})
    worker.on('error', () => {})
    const outcome = await failThrough(sentinel, 'changed on command', {
      ledger,
      add: (job) => queue.add('job', job, { removeOnComplete: true }),
      left: async () => {
        const { waiting, active } = await queue.getJobCounts('waiting', 'active')
        return Number(waiting) + Number(active)
      },
    })
    await annotate(summary(ledger, outcome))
    expect(outcome.lostMs.filter((ms) => ms > outcome.promotedMs + 1_000).length).toBeGreaterThan(0)
    await worker.close(true)
    await queue.close()
    client.disconnect()
  })
})

async function failThrough(sentinel: RedisSentinel, how: How, { ledger, add, left }: Jobs): Promise<Outcome> {
  let isOver = false
  let next = 0
  let refused = 0
  const adding = Array.from({ length: lanes }, async () => {
    while (!isOver) {
      const job = `${next++}`
      const isAdded = await add(job).then(
        () => true,
        () => false,
      )
      if (isAdded) ledger.acknowledge(job)
      else refused += 1
      await sleep(10)
    }
  })
  const fail = async (): Promise<
    readonly [failedAtMs: number, deadAtMs: number, promotedAtMs: number, flowsAtMs: number]
  > => {
    await waitUntil('many to run', () => ledger.done > 500, { deadlineMs: 30_000 })
    const previous = await sentinel.master()
    const failedAtMs = performance.now()
    let deadAtMs = failedAtMs
    if (how === 'killed') {
      // Begins with the question who it is, while jobs flow on.
      await sentinel.killMaster()
      deadAtMs = performance.now()
      await sentinel.masterAfter(previous)
    } else {
      await sentinel.failover()
    }
    const promotedAtMs = performance.now()
    await waitUntil('jobs to flow again', () => ledger.hasFlowedSince(promotedAtMs), {
      deadlineMs: 60_000,
      everyMs: 5,
    })
    const flowsAtMs = performance.now()
    // Until then the old one takes jobs, and loses them.
    if (how !== 'killed') await untilReplica(previous)
    return [failedAtMs, deadAtMs, promotedAtMs, flowsAtMs]
  }
  const [failedAtMs, deadAtMs, promotedAtMs, flowsAtMs] = await fail().finally(() => {
    isOver = true
  })
  await Promise.all(adding)
  await waitUntil('nothing to be left', async () => (await left()) === 0, { deadlineMs: 60_000 })
  return {
    deadMs: deadAtMs - failedAtMs,
    promotedMs: promotedAtMs - failedAtMs,
    flowsMs: flowsAtMs - failedAtMs,
    lostMs: ledger.lostAtMs.map((atMs) => atMs - failedAtMs),
    refused,
  }
}

async function untilReplica(server: RedisServer): Promise<void> {
  await waitUntil(
    'the old master to be a replica',
    async () => {
      const role = await server.cli('ROLE')
      return Array.isArray(role) && String(role[0]) === 'slave'
    },
    { deadlineMs: 60_000 },
  )
}

function summary(ledger: JobLedger, { promotedMs, flowsMs, lostMs, refused }: Outcome): string {
  const [first, last] = [Math.min(...lostMs), Math.max(...lostMs)].map(Math.round)
  const when = lostMs.length > 0 ? ` (acknowledged ${first} to ${last} ms after it began)` : ''
  return (
    `${lostMs.length} of ${ledger.acknowledged} lost${when}, ${ledger.duplicates} run twice, ${refused} refused, ` +
    `a new master after ${Math.round(promotedMs)} ms, jobs flow after ${Math.round(flowsMs)} ms`
  )
}

describe.skipIf(!serversAvailable())('60 queues on a Cluster with 3 masters', { timeout: 240_000 }, () => {
  it('are spread over all, need no two slots at once, and all go on when a master is killed', async ({
    annotate,
  }) => {
    await using cluster = await startCluster({ masters: 3, replicasEach: 1 })
    await using one = await node(cluster.url, { callTimeoutMs })
    const names = Array.from({ length: 60 }, (_, index) => `queue-${index}`)
    const seen = new Set<string>()
    const queues = names.map((name) => one.queues.open<string>(name))
    for (const queue of queues) {
      await queue.process(({ payload }) => void seen.add(payload), { leaseMs })
    }
    const addToAll = async (what: string, delayMs: number): Promise<void> => {
      await Promise.all(queues.map((queue) => queue.add(`${queue.name} ${what}`, { delayMs })))
    }
    const seenOf = (what: string): number => [...seen].filter((each) => each.endsWith(` ${what}`)).length
    await addToAll('before', 0)
    await waitUntil('all to run', () => seenOf('before') === names.length, { deadlineMs: 30_000 })
    const masters = await Promise.all(names.map((name) => cluster.masterOf(metaOf(name))))
    const counts = cluster.nodes.slice(0, 3).map((each) => masters.filter((master) => master === each).length)
    expect(counts.reduce((sum, count) => sum + count)).toBe(names.length)
    expect(Math.min(...counts)).toBeGreaterThanOrEqual(names.length * 0.15)

    await addToAll('meanwhile', 3_000)
    const [dead] = cluster.nodes
    if (dead === undefined) throw new Error('a cluster without nodes')
    await untilReplicated(dead)
    await dead.kill()
    const killedAtMs = performance.now()
    await addToAll('after', 0)
    await waitUntil('all to run', () => seenOf('after') === names.length, { deadlineMs: 60_000 })
    const wentOnMs = Math.round(performance.now() - killedAtMs)
    await waitUntil('those before it to run', () => seenOf('meanwhile') === names.length, {
      deadlineMs: 60_000,
    })
    expect(await crossSlots(cluster)).toBe(0)
    await annotate(`${counts.join(', ')} queues at the masters; all went on ${wentOnMs} ms after the kill`)
    const others = await Promise.all(names.map((name) => cluster.masterOf(metaOf(name))))
    expect(others, 'the control: it had queues').not.toEqual(masters)
    expect(others).not.toContain(dead)
  })

  it('the control: bare BullMQ needs several slots at once, and is refused', async () => {
    await using cluster = await startCluster({ masters: 3 })
    const client = new Cluster(
      cluster.nodes.map(({ port }) => ({ host: '127.0.0.1', port })),
      {
        redisOptions: { maxRetriesPerRequest: null },
      },
    )
    client.on('error', () => {})
    const queue = new BullQueue('raw', { connection: client })
    queue.on('error', () => {})
    await expect(queue.add('job', {})).rejects.toThrow(/CROSSSLOT/)
    expect(await crossSlots(cluster)).toBeGreaterThan(0)
    await queue.close()
    client.disconnect()
  })
})

function metaOf(queue: string): string {
  return `${slotPrefix(clusterName, 'queue', queue)}:v1:meta`
}

/** Else what was acknowledged may be lost with it. */
async function untilReplicated(master: RedisServer): Promise<void> {
  const info = async (): Promise<string> => String(await master.cli('INFO', 'replication'))
  const [, offset] = /master_repl_offset:(\d+)/.exec(await info()) ?? []
  await waitUntil('the replica to be in step', async () => {
    const [, acknowledged] = /^slave0:.*,offset=(\d+)/m.exec(await info()) ?? []
    return Number(acknowledged) >= Number(offset)
  })
}

/** How many commands were refused because their keys are not in one slot. */
async function crossSlots({ nodes }: RedisCluster): Promise<number> {
  const running = nodes.filter(({ state }) => state === 'running')
  const stats = await Promise.all(running.map((each) => each.cli('INFO', 'errorstats')))
  return stats.reduce<number>(
    (sum, text) => sum + Number(/errorstat_CROSSSLOT:count=(\d+)/.exec(String(text))?.[1] ?? 0),
    0,
  )
}

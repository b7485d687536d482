import { readFile } from 'node:fs/promises'
import { RetryLater } from '@multinode/core'
import {
  figure,
  type RedisServer,
  seededRandom,
  serversAvailable,
  startCluster,
  startRedis,
  startSentinel,
  waitUntil,
} from '@multinode/testbed'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { node } from './node.ts'

const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8')
const [appRules, clusterRules, sentinelRules] = [
  rulesIn(/`(\+client[^`]+)`/),
  rulesIn(/`(\+cluster[^`]+)`/),
  rulesIn(/`(\+sentinel[^`]+)`/),
]

/** A name for `CLIENT LIST`; what Redis allows everybody; another database; a client of the app; what is only asked for; and what BullMQ's scripts need in rare states. */
const rare = (
  '+client +hello +select +ping +config|get +hexists +lpos +lset +ltrim +persist +pexpire +rename +rpop +rpush +zcount ' +
  '+zremrangebyrank +zremrangebyscore +zrevrange'
).split(' ')

function rulesIn(pattern: RegExp): string[] {
  const [, rules] = pattern.exec(readme) ?? []
  if (rules === undefined) throw new Error(`no rules like ${pattern} in the README`)
  return rules.split(/\s+/)
}

/** All that the driver does: jobs of each kind are added, run, fail, come again, die, are looked at, wait again, are removed. */
async function useQueues(url: string): Promise<unknown[]> {
  const troubles: unknown[] = []
  await using one = await node(url, { callTimeoutMs: 20_000 })
  try {
    await useQueue(one, 'plain', false)
    await useQueue(one, 'by priority', true)
    await one.driver.ping(20_000)
  } catch (error) {
    troubles.push(error)
  }
  return [...troubles, ...one.reported]
}

async function useQueue(
  { queues, reported }: Awaited<ReturnType<typeof node>>,
  name: string,
  priorities: boolean,
): Promise<void> {
  const queue = queues.open<number>(name, { priorities, attempts: 2, backoff: { type: 'fixed', delayMs: 1 } })
  const until = async (what: string, isSo: () => boolean | Promise<boolean>): Promise<void> => {
    await waitUntil(what, async () => reported.length > 0 || (await isSo()), { deadlineMs: 30_000 })
    if (reported.length > 0) throw reported[0]
  }
  await queue.addMany([{ payload: 0, options: { delayMs: 60_000 } }, { payload: 0 }])
  await queue.pause('cluster')
  const { id } = await queue.add(0, { dedupe: { key: 'k', ttlMs: 50_000 } })
  await queue.add(0, { dedupe: { key: 'k', ttlMs: 50_000 } })
  await queue.add(0, { dedupe: { key: 'until done' } })
  await queue.get(id)
  await queue.counts()
  await queue.cancel(id)
  await queue.purge()
  await queue.resume('cluster')
  const before = queues.stats().completed
  let isLater = true
  let end = (): void => {}
  const renewed = new Promise<void>((resolve) => (end = resolve))
  const worker = await queue.process(
    async (job) => {
      const { payload, attempt } = job
      await job.progress({ seen: payload })
      if (payload === 1 && attempt === 1) throw new Error('again')
      if (payload === 2) throw new Error('never')
      if (payload === 3 && isLater) {
        isLater = false
        throw new RetryLater(1)
      }
      // A renewal of its lease.
      if (payload === 4) await renewed
    },
    { concurrency: 2, leaseMs: 1_000 },
  )
  await queue.add(1)
  await queue.add(2)
  await queue.add(3, { delayMs: 1 })
  await queue.add(4)
  await until('all but one', () => queues.stats().completed >= before + 2)
  await until('a dead one', async () => (await queue.counts()).dead === 1)
  const waitedSinceMs = performance.now()
  await until('a lease to be renewed', () => performance.now() - waitedSinceMs > 1_100)
  end()
  await until('all', () => queues.stats().completed >= before + 3)
  await queue.deadLetters.list()
  await queue.pause('node')
  await queue.deadLetters.redrive()
  await queue.resume('node')
  await until('it to be dead again', async () => (await queue.counts()).dead === 1)
  await queue.deadLetters.purge()
  await worker.close()
}

async function setApp(nodes: readonly RedisServer[], rules: readonly string[]): Promise<void> {
  for (const each of nodes) {
    await each.cli('ACL', 'SETUSER', 'app', 'reset', 'on', '>of-app', ...rules)
    // A script must be loaded by its user, too.
    await each.cli('SCRIPT', 'FLUSH')
    await each.flush().catch(() => {})
  }
}

describe
  .skipIf(!serversAvailable())
  .concurrent('what the README lists for an ACL user', { timeout: 240_000 }, () => {
    it('suffices, and without most of it queues are refused with the reason', async () => {
      await using server = await startRedis()
      const url = server.url.replace('//', '//app:of-app@')
      await setApp([server], appRules)
      expect(await useQueues(url)).toEqual([])
      const needless: string[] = []
      const reasons: string[] = []
      // Each of them takes a second: a slice takes some, others in each run.
      const [step, first] = [figure({ slice: 6, full: 1 }), seededRandom().between(0, 5)]
      for (const rule of appRules.filter((_, index) => index % step === first % step)) {
        await setApp(
          [server],
          appRules.filter((each) => each !== rule),
        )
        const troubles = await useQueues(url).catch((error: unknown) => [error])
        if (troubles.length === 0) needless.push(rule)
        else reasons.push(`${rule}: ${String(troubles)}`)
      }
      expect(reasons.filter((each) => !each.includes('lacks a permission: see the README'))).toEqual([])
      expect(needless.filter((rule) => !rare.includes(rule))).toEqual([])
    })

    it('suffices on a Cluster', async () => {
      await using cluster = await startCluster()
      await setApp(cluster.nodes, [...appRules, ...clusterRules])
      expect(await useQueues(cluster.url.replace('//', '//app:of-app@'))).toEqual([])
    })

    it('suffices behind Sentinels', async () => {
      await using sentinel = await startSentinel({ replicas: 1, sentinels: 1 })
      await setApp([await sentinel.master()], appRules)
      const watcher = new Redis({ port: sentinel.sentinels[0] ?? 0 })
      await watcher.call('ACL', 'SETUSER', 'watcher', 'reset', 'on', '>of-watcher', ...sentinelRules)
      watcher.disconnect()
      const login = 'sentinel_username=watcher&sentinel_password=of-watcher'
      expect(await useQueues(`${sentinel.url.replace('//', '//app:of-app@')}?${login}`)).toEqual([])
    })
  })

import { setImmediate } from 'node:timers/promises'
import {
  type RedisCluster,
  type RedisSentinel,
  type RedisServer,
  serversAvailable,
  startCluster,
  startSentinel,
  stolenMs,
  waitUntil,
} from '@multinode/testbed'
import { Redis } from 'ioredis'
import { afterAll, describe, expect, it } from 'vitest'
import { askerOf, Load, wrongsOf } from './load.ts'
import { callMs, openWith } from './open-with.ts'
import { bare } from './proxied.ts'

const downAfterMs = 1_000
/** Of ours, between two attempts. */
const longestBackoffMs = 1_000
const deadlineMs = callMs
const longMs = 10 * callMs
/** What no lateness of a busy machine explains. */
const hangsMs = 3 * callMs

/** Asks while that happens, until all is well again. */
async function loadThrough(
  url: string,
  happen: (load: Load) => Promise<unknown>,
  keys = 'ours',
  timeoutMs = callMs,
): Promise<Load> {
  await using opened = await openWith({ url })
  using load = new Load(keys, askerOf(opened.connection, timeoutMs))
  await load.untilItWorks()
  await happen(load)
  await load.untilItWorks()
  return load
}

// At the same time, because most of it is waiting.
describe
  .skipIf(!serversAvailable())
  .concurrent('every call ends in time and counts at most once', async () => {
    const [sentinel, cluster] = await Promise.all([
      startSentinel({ downAfterMs }),
      startCluster({ masters: 3, replicasEach: 1 }),
    ])
    afterAll(() => Promise.all([sentinel.stop(), cluster.stop()]))

    describe('when', { concurrent: false }, () => {
      // What the old master had taken, and not passed on, is lost: replication is asynchronous.
      const forgets = true

      it('Sentinels change the master on command', async () => {
        const load = await loadThrough(sentinel.url, () => sentinel.failover())
        expect(await wrongsOf(load, [await sentinel.master()], { deadlineMs, forgets })).toEqual([])
      })

      it('the master behind Sentinels is killed, and is back within down-after and 2 s', async () => {
        let [killedAtMs, promotedAtMs, backAtMs] = [0, 0, 0]
        const load = await loadThrough(sentinel.url, async (asked) => {
          await using promotion = await watchPromotion(sentinel)
          const dead = await sentinel.master()
          killedAtMs = performance.now()
          await dead.kill()
          const goneAtMs = performance.now()
          promotedAtMs = await promotion.atMs
          backAtMs = await firstWriteAfter(asked, goneAtMs)
          await sentinel.masterAfter(dead)
        })
        expect(await wrongsOf(load, [await sentinel.master()], { deadlineMs, forgets })).toEqual([])
        expect(load.failed().length, 'the control').toBeGreaterThan(0)
        // When Sentinels took their time, by a split vote or on a busy machine, ours is what came after.
        const dueAtMs = Math.max(killedAtMs + downAfterMs + 2_000, promotedAtMs + longestBackoffMs)
        expect(backAtMs - dueAtMs).toBeLessThan(stolenMs())
      })
    })

    describe('when', { concurrent: false }, () => {
      it('a replica of a Cluster takes over on command', async () => {
        const [replica] = await cluster.replicasOf(0)
        const load = await loadThrough(cluster.url, async () => replica && cluster.failover(replica))
        expect(await wrongsOf(load, await mastersOf(cluster), { deadlineMs })).toEqual([])
        expect(await cluster.masterOf(0)).toBe(replica)
      })

      it('a slot of a Cluster is moved, and midway', async () => {
        const from = await cluster.masterOf('busy')
        const to = (await mastersOf(cluster)).find((master) => master !== from) ?? from
        const midway = async (asked: Load): Promise<void> => {
          await expect(from.cli('INCR', '{busy}'), 'the control').rejects.toThrow('ASK ')
          await asked.untilItWorks()
        }
        const load = await loadThrough(
          cluster.url,
          (asked) => cluster.moveSlot('busy', to, { midway: () => midway(asked) }),
          '{busy}',
          // None is to fail, also because a busy machine is late.
          longMs,
        )
        expect(await cluster.masterOf('busy')).toBe(to)
        expect(await wrongsOf(load, await mastersOf(cluster), { deadlineMs: hangsMs })).toEqual([])
        expect(load.failed()).toEqual([])
      })

      it('connections are lost while a slot is moved, and the process lives on', async () => {
        const from = await cluster.masterOf('busy')
        const to = (await mastersOf(cluster)).find((master) => master !== from) ?? from
        const unhandled: unknown[] = []
        const note = (reason: unknown): void => void unhandled.push(reason)
        process.on('unhandledRejection', note)
        await using keeper = bare(new Redis(to.url))
        await keeper.redis.ping()
        const midway = async (asked: Load): Promise<void> => {
          for (let round = 0; round < 10; round += 1) {
            await asked.untilItWorks()
            await to.pause()
            const before = asked.questions.length
            await waitUntil('questions under way', () => asked.questions.length > before + 10)
            // Is there before the server goes on, which reads all that is there before it answers any.
            const killed = keeper.redis.call('CLIENT', 'KILL', 'TYPE', 'normal')
            await setImmediate()
            to.resume()
            await killed
          }
        }
        const load = await loadThrough(
          cluster.url,
          (asked) => cluster.moveSlot('busy', to, { midway: () => midway(asked) }),
          '{busy}',
        )
        expect(await wrongsOf(load, await mastersOf(cluster), { deadlineMs })).toEqual([])
        expect(load.failed().length, 'the control').toBeGreaterThan(0)
        expect(unhandled).toEqual([])
        process.off('unhandledRejection', note)
      })

      it('a master of a Cluster is killed', async () => {
        const dead = await cluster.masterOf(0)
        const load = await loadThrough(cluster.url, async () => {
          await dead.kill()
          await waitUntil('another master', async () => (await cluster.masterOf(0)) !== dead)
        })
        const forgets = true
        expect(await wrongsOf(load, await mastersOf(cluster), { deadlineMs, forgets })).toEqual([])
        expect(load.failed().length, 'the control').toBeGreaterThan(0)
      })
    })
  })

async function mastersOf(cluster: RedisCluster): Promise<RedisServer[]> {
  const masters = await Promise.all(Array.from({ length: 16 }, (_, index) => cluster.masterOf(index * 1_024)))
  return [...new Set(masters)]
}

interface Promotion extends AsyncDisposable {
  /** When the first of the Sentinels tells of another master. */
  readonly atMs: Promise<number>
}

async function watchPromotion(sentinel: RedisSentinel): Promise<Promotion> {
  const watchers = sentinel.sentinels.map((port) => new Redis(port))
  const told = watchers.map((watcher) => new Promise((resolve) => watcher.once('message', resolve)))
  await Promise.all(watchers.map((watcher) => watcher.subscribe('+switch-master')))
  return {
    atMs: Promise.race(told).then(() => performance.now()),
    async [Symbol.asyncDispose]() {
      for (const watcher of watchers) watcher.disconnect()
    },
  }
}

async function firstWriteAfter(load: Load, sinceMs: number): Promise<number> {
  const { ended, askedAtMs } = await waitUntil('a write to succeed', () =>
    load.questions.find(
      ({ kind, askedAtMs, ended }) => kind !== 'echo' && askedAtMs > sinceMs && ended && !ended.error,
    ),
  )
  return askedAtMs + (ended?.ms ?? 0)
}

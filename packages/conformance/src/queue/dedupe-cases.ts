import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { Gate, range, soon, until, untilDead, untilEmpty, without } from './handling.ts'
import type { QueueCase } from './queue-case.ts'

const dedupe = { key: 'ä:{order} 7' }

/** Jobs of which there is to be one. */
export const dedupeCases: readonly QueueCase[] = [
  {
    name: 'of jobs with one key there is one until it is done, on whatever node they are added',
    control: 'knows-no-duplicates',
    skip: without('dedupe'),
    async run(world) {
      const [one, two] = [await world.node(), await world.node()]
      const [queue, other] = [one.queues.open('jobs'), two.queues.open('jobs')]
      const first = await queue.add('first', { dedupe })
      expect(first.status).toBe('added')
      expect(await queue.add('second', { dedupe })).toEqual({ status: 'duplicate', id: first.id })
      expect(await other.add('third', { dedupe })).toEqual({ status: 'duplicate', id: first.id })
      const gate = new Gate()
      await queue.process(gate.pass, { concurrency: 4 })
      await until('it runs', () => gate.arrived.length > 0)
      expect(await other.add('fourth', { dedupe })).toEqual({ status: 'duplicate', id: first.id })
      expect((await other.add('of another key', { dedupe: { key: 'other' } })).status).toBe('added')
      expect((await two.queues.open('others').add('of another queue', { dedupe })).status).toBe('added')
      gate.open()
      await untilEmpty(queue)
      await until('the next one is added', async () => {
        const { status } = await other.add('next', { dedupe })
        return status === 'added'
      })
      await until('it runs', () => gate.arrived.length === 3)
      expect(gate.arrived).toEqual(['first', 'of another key', 'next'])
    },
  },
  {
    name: 'a delayed job, and one that will be tried again, keep theirs; a dead letter does not',
    control: 'knows-no-duplicates',
    skip: without('dedupe'),
    async run(world) {
      const node = await world.node()
      // Longer than it takes to look, also on a machine that stands still for a moment.
      const queue = node.queues.open('jobs', { attempts: 2, backoff: { ...soon, delayMs: 2_500 } })
      let runs = 0
      await queue.process(() => {
        runs += 1
        throw new Error('again')
      })
      const { id } = await queue.add('job', { dedupe, delayMs: 2_500 })
      expect(await queue.add('while it is delayed', { dedupe })).toEqual({ status: 'duplicate', id })
      await until('it ran', () => runs === 1)
      expect(await queue.add('between two attempts', { dedupe })).toEqual({ status: 'duplicate', id })
      await untilDead(queue, 1)
      expect((await queue.add('afterwards', { dedupe, delayMs: 60_000 })).status).toBe('added')
    },
  },
  {
    name: 'of 40 adds with one key at once, on four nodes, one adds, and all say which',
    control: 'knows-no-duplicates',
    skip: without('dedupe'),
    async run(world) {
      const all = await world.nodes(4)
      const adding = all.flatMap(({ queues }) =>
        range(1, 10).map((payload) => queues.open('jobs').add(payload, { dedupe })),
      )
      const results = await Promise.all(adding)
      const added = results.filter(({ status }) => status === 'added')
      expect(added).toHaveLength(1)
      expect(new Set(results.map(({ id }) => id))).toEqual(new Set([added[0]?.id]))
    },
  },
  {
    name: 'jobs of one request are duplicates of each other too',
    control: 'knows-no-duplicates',
    skip: without('dedupe'),
    async run(world) {
      const node = await world.node()
      const queue = node.queues.open<number>('jobs')
      const keys = ['a', 'b', 'a', 'a']
      const results = await queue.addMany(
        keys.map((key, payload) => ({ payload, options: { dedupe: { key } } })),
      )
      expect(results.map(({ status }) => status)).toEqual(['added', 'added', 'duplicate', 'duplicate'])
      const ids = results.map((result) => (result.status === 'failed' ? 'none' : result.id))
      expect([ids[2], ids[3]]).toEqual([ids[0], ids[0]])
    },
  },
  {
    name: 'with ttlMs a key counts for as long as that, whether its job is done or still waits',
    control: 'duplicates-for-ever',
    skip: without('dedupe'),
    async run(world) {
      const node = await world.node()
      const [done, waiting] = [node.queues.open('done'), node.queues.open('waiting')]
      let runs = 0
      await done.process(() => void (runs += 1))
      const short = { dedupe: { key: 'key', ttlMs: 2_000 } }
      const first = await done.add('first', short)
      const addedMs = performance.now()
      await waiting.add('first', short)
      await until('it ran', () => runs === 1)
      await untilEmpty(done)
      expect(await done.add('second', short)).toEqual({ status: 'duplicate', id: first.id })
      await sleep(Math.max(0, addedMs + 2_100 - performance.now()))
      for (const queue of [done, waiting]) {
        await until('the next one is added', async () => {
          const { status } = await queue.add('third', short)
          return status === 'added'
        })
      }
      await until('it ran', () => runs === 2)
    },
  },
]

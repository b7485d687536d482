import { setTimeout as sleep } from 'node:timers/promises'
import type { Job } from '@multinode/core'
import { expect } from 'vitest'
import {
  addAll,
  Gate,
  quietMs,
  range,
  sorted,
  until,
  untilCounts,
  untilDead,
  untilEmpty,
  without,
} from './handling.ts'
import type { QueueCase } from './queue-case.ts'

/** Counting, pausing, purging, draining, and nodes that are busy with something else. */
export const steeringCases: readonly QueueCase[] = [
  {
    name: 'counts say what waits, runs, is delayed and is dead, and null where they do not know, never 0',
    control: 'unknown-is-zero',
    async run(world) {
      const [adder, runner] = [await world.node(), await world.node()]
      const queue = adder.queues.open<string>('jobs')
      const gate = new Gate()
      const reader = runner.queues.open<string>('jobs')
      await reader.process(async (job) => {
        if (job.payload === 'dead') throw new Error('dead')
        await gate.pass(job)
      })
      for (const payload of ['dead', 'dead']) await queue.add(payload)
      await untilDead(queue, 2)
      await queue.add('running')
      await until('one runs', () => gate.arrived.length === 1)
      await addAll(queue, ['waiting', 'waiting', 'waiting'])
      const options = { delayMs: 600_000 }
      await addAll(queue, ['delayed', 'delayed', 'delayed', 'delayed'], options)
      const counts = await untilCounts(queue, { waiting: 3, active: 1, delayed: 4, dead: 2 })
      if (adder.driver.features.exactCounts) {
        expect(counts).toMatchObject({ waiting: 3, active: 1, delayed: 4, dead: 2 })
      }
      gate.open()
      await untilCounts(reader, { waiting: 0, active: 0, delayed: 4, dead: 2 })
    },
  },
  {
    name: 'the age of the job that waits longest grows, and goes with it',
    control: 'age-is-zero',
    skip: without('exactCounts'),
    async run(world) {
      const node = await world.node()
      const queue = node.queues.open('jobs')
      expect((await queue.counts()).oldestWaitingMs ?? 0).toBe(0)
      const addedMs = performance.now()
      await queue.add('job')
      await until('it is old', async () => ((await queue.counts()).oldestWaitingMs ?? 0) >= 400)
      // A tenth more, for clocks of two machines.
      expect(performance.now() - addedMs).toBeGreaterThanOrEqual(360)
      await queue.process(() => {})
      await until('nothing waits', async () => {
        const { waiting, oldestWaitingMs } = await queue.counts()
        return waiting === 0 && (oldestWaitingMs ?? 0) === 0
      })
    },
  },
  {
    name: 'a paused node takes no jobs: the one that runs goes on, jobs can be added, other nodes run them; then it takes some again',
    control: 'does-not-resume',
    async run(world) {
      const [one, two] = [await world.node(), await world.node()]
      const [queue, other] = [one.queues.open<number>('jobs'), two.queues.open<number>('jobs')]
      const gate = new Gate()
      await queue.process(gate.pass)
      await queue.add(1)
      await until('it runs', () => gate.arrived.length === 1)
      await queue.pause('node')
      await addAll(queue, range(2, 5))
      gate.open()
      await until('the running one ended', () => one.queues.stats().completed === 1)
      await sleep(quietMs)
      expect(gate.arrived).toEqual([1])
      const seen: unknown[] = []
      const worker = await other.process(({ payload }) => void seen.push(payload))
      await until('the other node ran them', () => seen.length === 4)
      await worker.close()
      await queue.resume('node')
      await other.add(6)
      await until('it takes jobs again', () => gate.arrived.length === 2)
      expect([gate.arrived, seen]).toEqual([
        [1, 6],
        [2, 3, 4, 5],
      ])
    },
  },
  {
    name: 'a job that ends while its node is paused is done, and does not run again',
    control: 'forgets-what-ends-after-a-pause',
    async run(world) {
      const [one, two] = [await world.node(), await world.node()]
      const queue = one.queues.open<number>('jobs')
      const gate = new Gate()
      await queue.process(gate.pass)
      await queue.add(1)
      await until('it runs', () => gate.arrived.length === 1)
      await queue.pause('node')
      const other = new Gate()
      other.open()
      await two.queues.open('jobs').process(other.pass)
      gate.open()
      await untilEmpty(queue)
      expect([gate.arrived, other.arrived]).toEqual([[1], []])
    },
  },
  {
    name: 'a worker that begins on a paused node takes no jobs until the node goes on',
    control: 'does-not-resume',
    async run(world) {
      const node = await world.node()
      const queue = node.queues.open<number>('jobs')
      await queue.pause('node')
      await addAll(queue, range(1, 3))
      const seen: unknown[] = []
      await queue.process(({ payload }) => void seen.push(payload))
      await sleep(quietMs)
      expect(seen).toEqual([])
      await queue.resume('node')
      await until('all ran', () => seen.length === 3)
      expect(sorted(seen)).toEqual([1, 2, 3])
    },
  },
  {
    name: 'pauses and resumes in quick succession end as the last one said',
    control: 'does-not-resume',
    async run(world) {
      const node = await world.node()
      const queue = node.queues.open<number>('jobs')
      const seen: unknown[] = []
      await queue.process(({ payload }) => void seen.push(payload))
      const calls = range(1, 21).map((index) =>
        index % 2 === 1 ? queue.pause('node') : queue.resume('node'),
      )
      await Promise.all(calls)
      await queue.add(1)
      await sleep(quietMs)
      expect(seen).toEqual([])
      await queue.resume('node')
      await until('it ran', () => seen.length === 1)
    },
  },
  {
    name: 'a paused cluster takes no jobs on any node, also a new one; what runs goes on; jobs can be added, and run afterwards',
    control: 'cluster-pause-is-ignored',
    skip: without('clusterPause'),
    async run(world) {
      const [one, two] = [await world.node(), await world.node()]
      const queue = one.queues.open<number>('jobs')
      const gate = new Gate()
      const seen: unknown[] = []
      const quick = ({ payload }: { readonly payload: unknown }): void => void seen.push(payload)
      const worker = await queue.process(gate.pass)
      await queue.add(0)
      await until('it runs', () => gate.arrived.length === 1)
      await two.queues.open('jobs').process(quick)
      await two.queues.open('jobs').pause('cluster')
      const three = await world.node()
      await three.queues.open('jobs').process(quick)
      await addAll(queue, range(1, 5))
      await sleep(quietMs)
      gate.open()
      await until('the running one ended', () => one.queues.stats().completed === 1)
      await worker.close()
      await sleep(quietMs)
      expect([gate.arrived, seen]).toEqual([[0], []])
      await untilCounts(queue, { waiting: 5, active: 0 })
      await three.queues.open('jobs').resume('cluster')
      await until('all ran', () => seen.length === 5)
      expect(sorted(seen)).toEqual([1, 2, 3, 4, 5])
    },
  },
  {
    name: 'a node that is not idle starts no jobs, other nodes run them all, and it takes some again when it is idle',
    control: 'does-not-resume',
    async run(world) {
      const [busy, other] = [await world.node(), await world.node()]
      let isIdle = false
      const [own, others]: [unknown[], unknown[]] = [[], []]
      await busy.queues.open('jobs').process(({ payload }) => void own.push(payload), {
        idle: () => isIdle,
        concurrency: 5,
        prefetch: 20,
      })
      const worker = await other.queues.open('jobs').process(({ payload }) => void others.push(payload))
      const queue = other.queues.open<number>('jobs')
      await addAll(queue, range(1, 60))
      await until('the other node ran them', () => others.length >= 60)
      await untilEmpty(queue)
      expect([own, others.length]).toEqual([[], 60])
      await worker.close()
      await queue.add(61)
      isIdle = true
      await until('it takes jobs again', () => own.length > 0)
      expect(own).toEqual([61])
    },
  },
  {
    name: 'what a node had fetched and not started goes to others when it is not idle any more, and counts as no attempt and no crash',
    control: 'hoards',
    async run(world) {
      const [busy, other] = [await world.node(), await world.node()]
      let isIdle = true
      const gate = new Gate()
      const options = { idle: () => isIdle, concurrency: 1, prefetch: 20, maxCrashes: 0 }
      await busy.queues.open('jobs').process(gate.pass, options)
      const queue = other.queues.open<number>('jobs')
      await addAll(queue, range(1, 20))
      await until('one runs', () => gate.arrived.length === 1)
      isIdle = false
      const seen: unknown[] = []
      let attempts = 0
      const handler = ({ payload, attempt }: Job<number>): void => {
        seen.push(payload)
        attempts += attempt
      }
      await queue.process(handler, { maxCrashes: 0 })
      await until('the other node ran the rest', () => seen.length === 19)
      expect(gate.arrived.length).toBe(1)
      gate.open()
      await untilEmpty(queue)
      expect(sorted([...gate.arrived, ...seen])).toEqual(range(1, 20))
      expect([attempts, await queue.deadLetters.list()]).toEqual([19, []])
    },
  },
  {
    name: 'purge deletes what waits, and neither what runs nor dead letters, and says how many or null',
    control: 'purge-does-nothing',
    async run(world) {
      const node = await world.node()
      const queue = node.queues.open<string>('jobs')
      const gate = new Gate()
      await queue.process(async (job) => {
        if (job.payload === 'dead') throw new Error('dead')
        await gate.pass(job)
      })
      await queue.add('dead')
      await untilDead(queue, 1)
      await queue.add('running')
      await until('one runs', () => gate.arrived.length === 1)
      await addAll(
        queue,
        range(1, 7).map(() => 'waiting'),
      )
      await untilCounts(queue, { waiting: 7 })
      expect([7, null]).toContain(await queue.purge())
      gate.open()
      await untilEmpty(queue)
      await queue.add('next')
      await until('the next one ran', () => gate.arrived.length >= 2)
      expect(gate.arrived).toEqual(['running', 'next'])
      expect(await untilDead(queue, 1)).toMatchObject([{ payload: 'dead' }])
    },
  },
  {
    name: 'purge deletes what is delayed, and what waits for its next attempt',
    control: 'purge-does-nothing',
    async run(world) {
      const node = await world.node()
      const queue = node.queues.open<string>('jobs')
      const seen: unknown[] = []
      await queue.process(({ payload }) => {
        seen.push(payload)
        if (payload === 'failing') throw new Error('again')
      })
      // Longer than it takes to purge them, also on a machine that stands still for a moment.
      const delayMs = 2_500
      await queue.add('failing', { attempts: 2, backoff: { type: 'fixed', delayMs, jitter: 0 } })
      await until('it ran', () => node.queues.stats().failed === 1)
      await queue.add('delayed', { delayMs })
      await untilCounts(queue, { active: 0, delayed: 2 })
      expect([2, null]).toContain(await queue.purge())
      await queue.add('later', { delayMs: delayMs + 300 })
      await until('the later one ran', () => seen.includes('later'))
      expect(seen).toEqual(['failing', 'later'])
    },
  },
  {
    name: 'drain waits until nothing waits or runs, does not wait for delayed jobs, and says whether it was in time',
    control: 'unknown-is-zero',
    skip: without('exactCounts'),
    async run(world) {
      const [adder, runner] = [await world.node(), await world.node()]
      const queue = adder.queues.open<number>('jobs')
      expect(await queue.drain()).toBe(true)
      await queue.add(0, { delayMs: 600_000 })
      await addAll(queue, range(1, 3))
      expect(await queue.drain({ timeoutMs: 200 })).toBe(false)
      const gate = new Gate()
      await runner.queues.open('jobs').process(gate.pass, { concurrency: 3 })
      await until('all run', () => gate.arrived.length === 3)
      expect(await queue.drain({ timeoutMs: 200 })).toBe(false)
      gate.open()
      expect(await queue.drain({ timeoutMs: 10_000 })).toBe(true)
    },
  },
]

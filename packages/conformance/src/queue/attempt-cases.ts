import { RetryLater, UnrecoverableJobError } from '@multinode/core'
import { expect } from 'vitest'
import { range, soon, until, untilDead, untilEmpty } from './handling.ts'
import type { QueueCase } from './queue-case.ts'

/** Clocks that count whole milliseconds. */
const roundingMs = 1

/** Whether each pause was as long as it had to be. */
function tooEarly(startsMs: readonly number[], pausesMs: readonly number[]): number[] {
  return pausesMs.filter((pauseMs, index) => {
    const [before, after] = [startsMs[index] ?? Infinity, startsMs[index + 1] ?? 0]
    return after - before < pauseMs - roundingMs
  })
}

/** What becomes of a job whose handler fails. */
export const attemptCases: readonly QueueCase[] = [
  {
    name: 'a job is tried as often as it may be, on whatever node, and is a dead letter then',
    control: 'attempt-stays-one',
    async run(world) {
      const all = await world.nodes(2)
      const seen: unknown[] = []
      for (const { queues } of all) {
        await queues.open('jobs', { attempts: 3, backoff: soon }).process((job) => {
          seen.push([job.attempt, job.attemptsMax])
          throw new Error(`failed ${job.attempt}`)
        })
      }
      const queue = all[0]?.queues.open('jobs', { attempts: 3, backoff: soon })
      if (queue === undefined) throw new Error('there are no nodes')
      await queue.add('job')
      const [letter] = await untilDead(queue, 1)
      expect(letter?.failure).toMatchObject({ reason: 'failed', message: 'failed 3', attempts: 3 })
      expect(seen).toEqual([
        [1, 3],
        [2, 3],
        [3, 3],
      ])
    },
  },
  {
    name: 'a job that was started before says so, and one that was not does not',
    control: 'redelivered-is-unknown',
    async run(world) {
      const node = await world.node()
      const queue = node.queues.open('jobs', { attempts: 3, backoff: soon })
      const seen: unknown[] = []
      await queue.process(({ attempt, redelivered }) => {
        seen.push([attempt, redelivered])
        if (seen.length === 2) throw new RetryLater(20)
        if (attempt < 3) throw new Error('again')
      })
      await queue.add('job')
      await until('it ran to its end', () => seen.length === 4)
      expect(seen).toEqual([
        [1, false],
        [2, true],
        [2, true],
        [3, true],
      ])
    },
  },
  {
    name: 'attempts never begin before their backoff is over: 100, 200 and 400 ms',
    control: 'retry-is-at-once',
    async run(world) {
      const node = await world.node()
      const backoff = { type: 'exponential', delayMs: 100, jitter: 0 } as const
      const queue = node.queues.open('jobs', { attempts: 4, backoff })
      const startsMs: number[] = []
      await queue.process(() => {
        startsMs.push(Date.now())
        throw new Error('again')
      })
      await queue.add('job')
      await until('it was tried four times', () => startsMs.length === 4)
      expect(tooEarly(startsMs, [100, 200, 400])).toEqual([])
    },
  },
  {
    name: 'a job that comes again ten times with the same delay comes ten times',
    control: 'retries-only-once',
    async run(world) {
      const node = await world.node()
      const queue = node.queues.open('jobs', { attempts: 11, backoff: { ...soon, delayMs: 100 } })
      const seen: number[] = []
      const startsMs: number[] = []
      await queue.process(({ attempt }) => {
        seen.push(attempt)
        startsMs.push(Date.now())
        if (attempt < 11) throw new Error('again')
      })
      await queue.add('job')
      await until('it ran to its end', () => seen.length === 11)
      await untilEmpty(queue)
      expect(seen).toEqual(range(1, 11))
      expect(tooEarly(startsMs, Array(10).fill(100))).toEqual([])
      expect(await queue.deadLetters.list()).toEqual([])
    },
  },
  {
    name: 'RetryLater brings a job again after its delay, and uses up no attempt',
    control: 'attempt-counts-deliveries',
    async run(world) {
      const node = await world.node()
      const queue = node.queues.open('jobs')
      const seen: unknown[] = []
      const startsMs: number[] = []
      await queue.process(({ attempt }) => {
        seen.push(attempt)
        startsMs.push(Date.now())
        if (seen.length < 4) throw new RetryLater(100)
      })
      await queue.add('job', { attempts: 1 })
      await until('it ran to its end', () => seen.length === 4)
      await untilEmpty(queue)
      expect(seen).toEqual([1, 1, 1, 1])
      expect(tooEarly(startsMs, [100, 100, 100])).toEqual([])
      expect(await queue.deadLetters.list()).toEqual([])
    },
  },
  {
    name: 'RetryLater of no delay brings a job again at once',
    control: 'attempt-counts-deliveries',
    async run(world) {
      const node = await world.node()
      const queue = node.queues.open('jobs')
      const seen: unknown[] = []
      await queue.process(({ attempt }) => {
        seen.push(attempt)
        if (seen.length < 5) throw new RetryLater(0)
      })
      await queue.add('job')
      await until('it ran to its end', () => seen.length === 5)
      expect(seen).toEqual([1, 1, 1, 1, 1])
    },
  },
  {
    name: 'UnrecoverableJobError makes a job a dead letter though it has attempts left',
    control: 'dead-forgets-its-failure',
    async run(world) {
      const node = await world.node()
      const queue = node.queues.open('jobs', { attempts: 5, backoff: soon })
      let runs = 0
      await queue.process(() => {
        runs += 1
        throw new UnrecoverableJobError('hopeless')
      })
      await queue.add('job')
      const [letter] = await untilDead(queue, 1)
      expect(letter?.failure).toMatchObject({
        reason: 'unrecoverable',
        name: 'UnrecoverableJobError',
        message: 'hopeless',
        attempts: 1,
      })
      await untilEmpty(queue)
      expect(runs).toBe(1)
    },
  },
  {
    name: 'whatever a handler throws or rejects with is a failure, also nothing',
    control: 'dead-is-dropped',
    async run(world) {
      const node = await world.node()
      const queue = node.queues.open<string>('jobs')
      const nothing: unknown = undefined
      const wordless = Object.assign(new Error('wordless'), { message: 7, stack: null, name: Symbol('none') })
      const thrown = new Map<string, () => unknown>([
        [
          'throws at once',
          () => {
            throw new Error('at once')
          },
        ],
        ['rejects', () => Promise.reject(new TypeError('later'))],
        ['rejects with nothing', () => Promise.reject(nothing)],
        ['rejects with text', () => Promise.reject(Object('text'))],
        ['rejects with an object of no kind', () => Promise.reject(Object.create(null))],
        ['rejects with an error of no words', () => Promise.reject(wordless)],
      ])
      await queue.process(({ payload }) => thrown.get(payload)?.())
      for (const payload of thrown.keys()) await queue.add(payload)
      const letters = await untilDead(queue, thrown.size)
      expect(new Set(letters.map(({ payload }) => payload))).toEqual(new Set(thrown.keys()))
      for (const { failure } of letters) expect(failure.reason).toBe('failed')
      await until('nothing runs', () => node.queues.stats().running === 0)
      expect(node.queues.stats()).toMatchObject({ dead: thrown.size, failed: thrown.size, retried: 0 })
    },
  },
]

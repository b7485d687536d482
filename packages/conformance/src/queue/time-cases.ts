import { setTimeout as sleep } from 'node:timers/promises'
import { type Job, isMultinodeError } from '@multinode/core'
import { expect } from 'vitest'
import {
  addAll,
  aborted,
  deaf,
  Gate,
  range,
  soon,
  sorted,
  until,
  untilCounts,
  untilDead,
  untilEmpty,
} from './handling.ts'
import type { QueueCase } from './queue-case.ts'

/** Clocks that count whole milliseconds. */
const roundingMs = 1

/** Timers of Node.js count from the begin of a turn of the event loop, which may have been long. */
const busyMs = 150

/** Delays, timeouts and expiry. */
export const timeCases: readonly QueueCase[] = [
  {
    name: 'delayed jobs are never early, run in the order in which they are due, and let others pass',
    control: 'delay-is-early',
    async run(world) {
      const [adder, runner] = [await world.node(), await world.node()]
      const seen: { payload: unknown; startMs: number }[] = []
      const handler = ({ payload }: Job): void => void seen.push({ payload, startMs: Date.now() })
      await runner.queues.open('jobs').process(handler)
      // So far apart that a server that stands still for a moment changes no order.
      const delaysMs = [3_000, 1_000, 2_000, 1, 0]
      const addedMs = Date.now()
      await adder.queues
        .open<number>('jobs')
        .addMany(delaysMs.map((delayMs) => ({ payload: delayMs, options: { delayMs } })))
      await until('all ran', () => seen.length === 5)
      const order = seen.map(({ payload }) => payload)
      expect(sorted(order.slice(0, 2))).toEqual([0, 1])
      expect(order.slice(2)).toEqual([1_000, 2_000, 3_000])
      for (const { payload, startMs } of seen) {
        expect(startMs - addedMs).toBeGreaterThanOrEqual(Number(payload) - roundingMs)
      }
    },
  },
  {
    name: 'runAt is never early, and one that is past is now',
    control: 'delay-is-early',
    async run(world) {
      const [adder, runner] = [await world.node(), await world.node()]
      const startsMs = new Map<unknown, number>()
      await runner.queues.open('jobs').process(({ payload }) => void startsMs.set(payload, Date.now()))
      const queue = adder.queues.open<string>('jobs')
      // Later than the second add takes, though the first one makes the queue on a busy machine.
      const dueMs = Date.now() + 3_000
      await queue.add('later', { runAt: new Date(dueMs) })
      await queue.add('now', { runAt: new Date(0) })
      await until('both ran', () => startsMs.size === 2)
      expect([...startsMs.keys()]).toEqual(['now', 'later'])
      expect(startsMs.get('later')).toBeGreaterThanOrEqual(dueMs - roundingMs)
    },
  },
  {
    name: '200 jobs that are due at one time all run, once, and none early',
    control: 'delay-is-early',
    async run(world) {
      const [adder, ...runners] = [await world.node(), await world.node(), await world.node()]
      const seen: unknown[] = []
      let early = 0
      const dueMs = Date.now() + 700
      for (const { queues } of runners) {
        await queues.open('jobs').process(
          ({ payload }) => {
            seen.push(payload)
            if (Date.now() < dueMs - roundingMs) early += 1
          },
          { concurrency: 10 },
        )
      }
      const queue = adder.queues.open<number>('jobs')
      await addAll(queue, range(1, 200), { runAt: new Date(dueMs) })
      await until('all ran', () => seen.length >= 200)
      await untilEmpty(queue)
      expect(sorted(seen)).toEqual(range(1, 200))
      expect(early).toBe(0)
    },
  },
  {
    name: 'an attempt that takes too long is aborted with the reason "timeout", and is tried again',
    control: 'timeout-is-forgotten',
    async run(world) {
      const node = await world.node()
      const queue = node.queues.open('jobs', { attempts: 2, backoff: soon, timeoutMs: 300 })
      const reasons: unknown[] = []
      let lastMs = 0
      await queue.process(async ({ signal }) => {
        lastMs = performance.now()
        await aborted(signal)
        reasons.push(signal.reason)
        throw new Error('aborted')
      })
      const errors: unknown[] = []
      queue.on('failed', ({ error }) => void errors.push(isMultinodeError(error) ? error.code : error))
      const addedMs = performance.now()
      await queue.add('job')
      const [letter] = await untilDead(queue, 1)
      expect(letter?.failure).toMatchObject({ reason: 'failed', attempts: 2 })
      expect(letter?.failure.message).toContain('300 ms')
      expect(reasons).toEqual(['timeout', 'timeout'])
      expect(errors).toEqual(['TIMEOUT', 'TIMEOUT'])
      expect(lastMs - addedMs).toBeGreaterThan(300 - busyMs)
    },
  },
  {
    name: 'what a handler completes after its timeout, within its grace, is done and does not run again',
    control: 'timeout-is-forgotten',
    async run(world) {
      const node = await world.node()
      const queue = node.queues.open('jobs', { attempts: 3, backoff: soon, timeoutMs: 100 })
      const completed: string[] = []
      queue.on('completed', ({ id }) => void completed.push(id))
      let runs = 0
      await queue.process(async ({ signal }) => {
        runs += 1
        await aborted(signal)
        await sleep(50)
      })
      const { id } = await queue.add('job')
      await until('it is done', () => completed.length > 0)
      await untilEmpty(queue)
      expect([completed, runs]).toEqual([[id], 1])
    },
  },
  {
    name: 'a handler that heeds no signal gives its slot back after handlerGraceMs, and no sooner',
    control: 'timeout-is-forgotten',
    async run(world) {
      const node = await world.node()
      const queue = node.queues.open<string>('jobs')
      let nextMs = 0
      const handler = ({ payload }: Job<string>): unknown => {
        if (payload === 'deaf') return deaf()
        nextMs = performance.now()
        return undefined
      }
      await queue.process(handler, { handlerGraceMs: 300 })
      const addedMs = performance.now()
      await queue.add('deaf', { timeoutMs: 200 })
      await queue.add('next')
      await until('the next one ran', () => nextMs > 0)
      expect(nextMs - addedMs).toBeGreaterThan(500 - busyMs)
      const [letter] = await untilDead(queue, 1)
      expect(letter).toMatchObject({ payload: 'deaf', failure: { reason: 'failed' } })
    },
  },
  {
    name: 'a job that was not started in time does not run, is no dead letter, and is told of as expired',
    control: 'expiry-is-forgotten',
    async run(world) {
      const [adder, runner] = [await world.node(), await world.node()]
      const queue = runner.queues.open<string>('jobs')
      const gate = new Gate()
      const expired: string[] = []
      queue.on('expired', ({ id }) => void expired.push(id))
      await queue.process(gate.pass)
      const adding = adder.queues.open<string>('jobs')
      await adding.add('running', { expiresInMs: 60_000 })
      await until('the first one runs', () => gate.arrived.length === 1)
      const { id } = await adding.add('late', { expiresInMs: 200 })
      await adding.add('in time', { expiresInMs: 60_000 })
      await adding.add('for ever')
      await sleep(250)
      gate.open()
      await until('the others ran', () => gate.arrived.length >= 3)
      await untilCounts(queue, { waiting: 0, active: 0, delayed: 0, dead: 0 })
      expect(gate.arrived).toEqual(['running', 'in time', 'for ever'])
      expect(expired).toEqual([id])
    },
  },
  {
    name: 'a job that expires between two attempts does not run again',
    control: 'expiry-is-forgotten',
    async run(world) {
      const node = await world.node()
      // Longer than the first attempt is late, though its job makes the queue on a busy machine.
      const expiresInMs = 3_000
      const backoff = { ...soon, delayMs: expiresInMs + 100 }
      const queue = node.queues.open('jobs', { attempts: 3, backoff })
      const expired: string[] = []
      queue.on('expired', ({ id }) => void expired.push(id))
      let runs = 0
      await queue.process(() => {
        runs += 1
        throw new Error('again')
      })
      const { id } = await queue.add('job', { expiresInMs })
      await until('it is told of as expired', () => expired.length > 0)
      await untilEmpty(queue)
      expect([expired, runs]).toEqual([[id], 1])
    },
  },
]

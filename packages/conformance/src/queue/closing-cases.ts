import { expect } from 'vitest'
import { settledWithin } from '../settled-within.ts'
import {
  addAll,
  aborted,
  deaf,
  Gate,
  range,
  refusal,
  shortLeaseMs,
  soon,
  sorted,
  takeoverMs,
  until,
  untilEmpty,
} from './handling.ts'
import type { QueueCase } from './queue-case.ts'

/** How long a close may take that gives no grace: half a second for handlers, and what a backend needs. */
const closeMs = 5_000

/** Workers, nodes and drivers that end. */
export const closingCases: readonly QueueCase[] = [
  {
    name: 'a worker that closes takes no more, waits for its jobs, and the rest runs elsewhere, once',
    control: 'forgets-what-ends-after-a-pause',
    async run(world) {
      const [one, two] = [await world.node(), await world.node()]
      const queue = one.queues.open<number>('jobs')
      const gate = new Gate()
      const worker = await queue.process(gate.pass, { concurrency: 2, prefetch: 10 })
      await addAll(queue, range(1, 10))
      await until('two run', () => gate.arrived.length === 2)
      const closing = worker.close()
      const other: unknown[] = []
      await two.queues.open('jobs').process(({ payload }) => void other.push(payload))
      await until('the others ran elsewhere', () => other.length === 8)
      expect(worker.running).toBe(2)
      gate.open()
      await closing
      expect([worker.running, one.queues.stats().completed]).toEqual([0, 2])
      await untilEmpty(queue)
      expect(sorted([...gate.arrived, ...other])).toEqual(range(1, 10))
    },
  },
  {
    name: 'after graceMs a job is aborted with the reason "shutdown", and runs again elsewhere, with no attempt used up',
    control: 'shutdown-ends-jobs',
    async run(world) {
      const [one, two] = [await world.node(), await world.node()]
      const queue = one.queues.open('jobs')
      const reasons: unknown[] = []
      let isRunning = false
      const worker = await queue.process(async ({ signal }) => {
        isRunning = true
        await aborted(signal)
        reasons.push(signal.reason)
        throw new Error('aborted')
      })
      await queue.add('job', { attempts: 1 })
      await until('it runs', () => isRunning)
      await worker.close({ graceMs: 100 })
      expect(reasons).toEqual(['shutdown'])
      const seen: unknown[] = []
      const handler = ({ attempt, redelivered }: { attempt: number; redelivered: boolean }): void =>
        void seen.push([attempt, redelivered])
      await two.queues.open('jobs').process(handler, { leaseMs: shortLeaseMs })
      await until('it runs elsewhere', () => seen.length > 0, takeoverMs)
      await untilEmpty(queue)
      expect(seen).toEqual([[1, true]])
      expect(await queue.deadLetters.list()).toEqual([])
    },
  },
  {
    name: 'a handler that heeds no signal does not keep a worker from closing, and its job runs again elsewhere',
    control: 'keeps-jobs-of-closed-workers',
    async run(world) {
      const [one, two] = [await world.node(), await world.node()]
      const queue = one.queues.open('jobs')
      let isRunning = false
      const options = { leaseMs: shortLeaseMs }
      const worker = await queue.process(() => {
        isRunning = true
        return deaf()
      }, options)
      await queue.add('job')
      await until('it runs', () => isRunning)
      expect(await settledWithin(closeMs, worker.close({ graceMs: 100 }))).toBeUndefined()
      const seen: unknown[] = []
      await two.queues.open('jobs').process(({ attempt }) => void seen.push(attempt), options)
      await until('it runs elsewhere', () => seen.length > 0, takeoverMs)
      expect(seen).toEqual([1])
    },
  },
  {
    name: 'a job whose node is closed while it runs is run again elsewhere, and none that waits is lost',
    control: 'keeps-jobs-of-closed-workers',
    async run(world) {
      const [one, two, three] = [await world.node(), await world.node(), await world.node()]
      const options = { leaseMs: shortLeaseMs, concurrency: 3, prefetch: 6 }
      const running: unknown[] = []
      await one.queues.open('jobs').process(({ payload }) => {
        running.push(payload)
        return deaf()
      }, options)
      await addAll(three.queues.open<number>('jobs'), range(1, 20))
      await until('three run', () => running.length === 3)
      expect(await settledWithin(closeMs, one.close())).toBeUndefined()
      const seen: unknown[] = []
      const again: unknown[] = []
      await two.queues.open('jobs').process(({ payload, redelivered }) => {
        seen.push(payload)
        if (redelivered) again.push(payload)
      }, options)
      await until('all ran', () => new Set(seen).size === 20, takeoverMs)
      expect(again).toEqual(expect.arrayContaining(running))
    },
  },
  {
    name: 'a job whose workers end again and again is a dead letter with the reason "crashed", after maxCrashes starts or one more',
    control: 'crashes-do-not-count',
    async run(world) {
      const adder = await world.node()
      const queue = adder.queues.open('jobs')
      const { id } = await queue.add('job', { attempts: 100 })
      const options = { leaseMs: shortLeaseMs, maxCrashes: 2 }
      let starts = 0
      let letters: unknown[] = []
      for (let round = 1; round <= 5 && letters.length === 0; round += 1) {
        const node = await world.node()
        await node.queues.open('jobs').process(() => {
          starts += 1
          return deaf()
        }, options)
        const hasEnded = async (): Promise<boolean> => {
          letters = await queue.deadLetters.list()
          return starts === round || letters.length > 0
        }
        await until('it was started, or is given up', hasEnded, takeoverMs)
        await node.close()
        letters = await queue.deadLetters.list()
      }
      expect(letters).toMatchObject([{ id, payload: 'job', failure: { reason: 'crashed' } }])
      expect([2, 3]).toContain(starts)
    },
  },
  {
    name: 'a worker closes with the signal that it was given, and one whose signal is aborted does not begin',
    control: 'does-not-resume',
    async run(world) {
      const node = await world.node()
      const queue = node.queues.open('jobs')
      const abort = new AbortController()
      const seen: unknown[] = []
      await queue.process(({ payload }) => void seen.push(payload), { signal: abort.signal })
      await queue.add(1)
      await until('it ran', () => seen.length === 1)
      abort.abort(new Error('over'))
      const gate = new Gate()
      gate.open()
      await queue.pause('node')
      await queue.process(gate.pass)
      await queue.resume('node')
      await queue.add(2)
      await until('another worker ran the next', () => gate.arrived.length === 1)
      expect(seen).toEqual([1])
      const late = await refusal(queue.process(gate.pass, { signal: abort.signal }))
      expect(late).toMatchObject({ code: 'ABORTED', cause: { message: 'over' } })
    },
  },
  {
    name: 'closing twice is closing once, for workers, nodes and drivers, and what is called afterwards is CLOSED',
    control: 'close-twice-rejects',
    async run(world) {
      const node = await world.node()
      const queue = node.queues.open('jobs', { attempts: 2, backoff: soon })
      const worker = await queue.process(() => {})
      await queue.add('job')
      await Promise.all([worker.close(), worker.close({ graceMs: 0 })])
      await worker.close()
      const calls: (() => Promise<unknown>)[] = [
        () => queue.add('job'),
        () => queue.addMany([{ payload: 'job' }]),
        () => queue.process(() => {}),
        async () => queue.counts(),
        () => queue.purge(),
        () => queue.pause('node'),
        () => queue.resume('node'),
        () => queue.drain(),
        () => queue.get('id'),
        () => queue.cancel('id'),
        () => queue.deadLetters.list(),
        () => queue.deadLetters.redrive(),
        () => queue.deadLetters.purge(),
      ]
      await Promise.all([node.queues.close(), node.queues.close()])
      await node.queues.close()
      for (const call of calls) {
        const error = await settledWithin(closeMs, refusal(Promise.resolve().then(call)))
        const codes = node.driver.features.exactCounts ? ['CLOSED'] : ['CLOSED', 'UNSUPPORTED']
        expect(codes).toContain(Object(error).code)
      }
      await node.driver.close()
      await node.driver.close()
    },
  },
  {
    name: 'a node that drains takes no further jobs and begins no worker; jobs can be added, and run elsewhere',
    control: 'shutdown-ends-jobs',
    async run(world) {
      const [one, two] = [await world.node(), await world.node()]
      const queue = one.queues.open<number>('jobs')
      const gate = new Gate()
      // Nobody may take it over before its node is closed, also where that stands still for a moment.
      await queue.process(gate.pass, { leaseMs: 3 * shortLeaseMs })
      await queue.add(1)
      await until('it runs', () => gate.arrived.length === 1)
      expect(await one.queues.drain(100)).toEqual(['jobs: 1 running'])
      expect(await refusal(queue.process(gate.pass))).toMatchObject({ code: 'CLOSED' })
      await queue.add(2)
      const seen: unknown[] = []
      const options = { leaseMs: shortLeaseMs }
      await two.queues.open('jobs').process(({ payload }) => void seen.push(payload), options)
      await until('the other node ran it', () => seen.length === 1)
      expect([gate.arrived, seen]).toEqual([[1], [2]])
      await one.close()
      await until('the one that ran there runs here', () => seen.length === 2, takeoverMs)
      expect(seen).toEqual([2, 1])
    },
  },
]

import { setTimeout as sleep } from 'node:timers/promises'
import { isMultinodeError } from '@multinode/core'
import { expect } from 'vitest'
import { withLateness } from '../lateness.ts'
import { settledWithin } from '../settled-within.ts'
import { addAll, Gate, quietMs, range, refusal, shortLeaseMs, until, untilEmpty } from './handling.ts'
import type { QueueCase } from './queue-case.ts'
import type { QueueNode, QueueWorld } from './queue-world.ts'

const longestOutageMs = 30_000

function cannotFreeze({ faults }: QueueWorld): string | undefined {
  return faults.freeze === undefined ? 'the harness cannot freeze the server' : undefined
}

function cannotCut({ faults }: QueueWorld): string | undefined {
  return faults.cutConnections === undefined ? 'the harness cannot cut connections' : undefined
}

/** Runs `during` while the server is silent. */
async function whileFrozen<T>(world: QueueWorld, during: () => Promise<T>): Promise<T> {
  const thaw = await world.faults.freeze?.()
  try {
    return await during()
  } finally {
    await thaw?.()
  }
}

/** Adds jobs, and keeps apart those that were accepted from those that certainly were not. */
class Adding {
  readonly accepted = new Set<number>()
  readonly notSent = new Set<number>()
  readonly errors: unknown[] = []

  async add({ queues }: QueueNode, payload: number): Promise<void> {
    try {
      await queues.open<number>('jobs').add(payload)
      this.accepted.add(payload)
    } catch (error) {
      this.errors.push(error)
      if (isMultinodeError(error) && error.outcome === 'not-sent') this.notSent.add(payload)
    }
  }
}

/** What happens when the server does not answer, or connections break. */
export const faultCases: readonly QueueCase[] = [
  {
    name: 'every call settles within callTimeoutMs and a tenth while the server is silent, with a typed error',
    control: 'claims-what-failed',
    isAlone: true,
    skip: cannotFreeze,
    async run(world) {
      const node = await world.node({ callTimeoutMs: 1_000 })
      const queue = node.queues.open<number>('jobs')
      await until('the queue is there', async () => !isMultinodeError(await refusal(queue.add(0))))
      const settleAll = () => {
        const startMs = performance.now()
        const work: Promise<unknown>[] = [
          queue.add(1),
          queue.counts(),
          queue.process(() => {}),
          queue.deadLetters.list(),
          queue.deadLetters.redrive(),
          queue.deadLetters.purge(),
          node.queues.open('another').add('job'),
          queue.addMany([{ payload: 2 }, { payload: 3 }]),
        ]
        const each = async (call: Promise<unknown>) => {
          const result = await settledWithin(4_000, call)
          return { result, tookMs: performance.now() - startMs }
        }
        return Promise.all(work.map(each))
      }
      const frozen = () => whileFrozen(world, settleAll)
      const { result: calls, lateMs } = await withLateness(frozen)
      const many = calls.pop()
      for (const { result, tookMs } of calls) {
        expect(result).toMatchObject({ name: 'MultinodeError', retryable: true })
        // Room for a busy machine: what matters is that nothing waits for the server.
        expect(tookMs).toBeLessThan(1_100 + 900 + lateMs)
      }
      for (const { result } of [calls[0], calls[6]].filter((call) => call !== undefined)) {
        expect(['not-sent', 'unknown']).toContain(Object(result).outcome)
      }
      const failed = { status: 'failed', error: { name: 'MultinodeError', retryable: true } }
      expect(many?.result).toMatchObject([failed, failed])
    },
  },
  {
    name: 'what was accepted around a silence of the server runs, and what was not sent does not',
    control: 'not-sent-was-sent',
    isAlone: true,
    skip: cannotFreeze,
    async run(world) {
      const [adder, runner] = [await world.node({ callTimeoutMs: 1_000 }), await world.node()]
      const seen: unknown[] = []
      const options = { concurrency: 5, leaseMs: 2 * shortLeaseMs }
      await runner.queues.open('jobs').process(({ payload }) => void seen.push(payload), options)
      const adding = new Adding()
      for (const payload of range(1, 10)) await adding.add(adder, payload)
      await whileFrozen(world, () => Promise.all(range(11, 20).map((payload) => adding.add(adder, payload))))
      expect(adding.errors.length).toBeGreaterThan(0)
      for (const error of adding.errors) expect(error).toMatchObject({ retryable: true })
      const works = async (): Promise<boolean> => {
        await adding.add(adder, 21)
        return adding.accepted.has(21)
      }
      await until('it works again', works, longestOutageMs)
      for (const payload of range(22, 30)) await adding.add(adder, payload)
      const hasRun = (): boolean => [...adding.accepted].every((payload) => seen.includes(payload))
      await until('all that was accepted ran', hasRun, longestOutageMs)
      await sleep(quietMs)
      const ranThough = [...adding.notSent].filter((payload) => payload !== 21 && seen.includes(payload))
      expect(ranThough).toEqual([])
    },
  },
  {
    name: 'jobs that end while the server is silent are done or run again, and none is lost',
    control: 'loses-every-seventh',
    isAlone: true,
    skip: cannotFreeze,
    async run(world) {
      const [one, two] = [await world.node(), await world.node()]
      const gate = new Gate()
      const options = { concurrency: 10, leaseMs: 2 * shortLeaseMs }
      await one.queues.open('jobs').process(gate.pass, options)
      const queue = two.queues.open<number>('jobs')
      await addAll(queue, range(1, 30))
      await until('ten run', () => gate.arrived.length >= 10)
      await whileFrozen(world, async () => {
        gate.open()
        await sleep(1_000)
      })
      await until('all ran', () => new Set(gate.arrived).size === 30, longestOutageMs)
      await untilEmpty(queue)
      expect(await queue.deadLetters.list()).toEqual([])
    },
  },
  {
    name: 'ping rejects while the server is silent, and answers afterwards',
    control: 'ping-always-succeeds',
    isAlone: true,
    skip: cannotFreeze,
    async run(world) {
      const { driver } = await world.node()
      const frozen = await whileFrozen(world, () => settledWithin(2_000, driver.ping(200)))
      expect(frozen).toMatchObject({ code: 'TIMEOUT' })
      await until('it answers', async () => (await refusal(driver.ping(2_000))) === undefined)
    },
  },
  {
    name: 'what is added while connections break ten times is run, if it was accepted',
    control: 'loses-every-seventh',
    isAlone: true,
    skip: cannotCut,
    async run(world) {
      const [adder, ...runners] = [await world.node(), await world.node(), await world.node()]
      const seen = new Set<unknown>()
      const options = { concurrency: 5, leaseMs: 2 * shortLeaseMs }
      for (const { queues } of runners) {
        await queues.open('jobs').process(({ payload }) => void seen.add(payload), options)
      }
      const adding = new Adding()
      for (let cut = 0; cut < 10; cut += 1) {
        const first = cut * 40
        const before = range(first, first + 19).map((payload) => adding.add(adder, payload))
        await sleep(1)
        await world.faults.cutConnections?.()
        const after = range(first + 20, first + 39).map((payload) => adding.add(adder, payload))
        await Promise.all([...before, ...after])
      }
      const hasRun = (): boolean => [...adding.accepted].every((payload) => seen.has(payload))
      await until('all that was accepted ran', hasRun, longestOutageMs)
      // A cut is over in milliseconds, and core tries again meanwhile.
      expect(adding.accepted.size).toBe(400)
      const queue = adder.queues.open<number>('jobs')
      await untilEmpty(queue)
      expect(await queue.deadLetters.list()).toEqual([])
    },
  },
  {
    name: 'jobs that run while connections break are done or run again, and none is lost',
    control: 'loses-every-seventh',
    isAlone: true,
    skip: cannotCut,
    async run(world) {
      const [one, two] = [await world.node(), await world.node()]
      const gate = new Gate()
      const done = new Set<unknown>()
      const options = { concurrency: 5, leaseMs: 2 * shortLeaseMs }
      for (const { queues } of [one, two]) {
        await queues.open('jobs').process(async (job) => {
          await gate.pass(job)
          done.add(job.payload)
        }, options)
      }
      const queue = one.queues.open<number>('jobs')
      await addAll(queue, range(1, 40))
      await until('ten run', () => gate.arrived.length >= 10)
      await world.faults.cutConnections?.()
      await sleep(quietMs)
      await world.faults.cutConnections?.()
      gate.open()
      await until('all are done', () => done.size === 40, longestOutageMs)
      await until('nothing is left', async () => (await refusal(untilEmpty(queue))) === undefined)
    },
  },
  {
    name: 'a worker whose connections break takes jobs again, also when they break before its first one',
    control: 'loses-every-seventh',
    isAlone: true,
    skip: cannotCut,
    async run(world) {
      const [adder, runner] = [await world.node(), await world.node()]
      const seen = new Set<unknown>()
      const options = { leaseMs: 2 * shortLeaseMs }
      await runner.queues.open('jobs').process(({ payload }) => void seen.add(payload), options)
      const adding = new Adding()
      for (const payload of range(1, 10)) {
        await world.faults.cutConnections?.()
        await adding.add(adder, payload)
        const hasRun = (): boolean => [...adding.accepted].every((each) => seen.has(each))
        await until('all that was accepted ran', hasRun, longestOutageMs)
      }
      expect(adding.accepted.size).toBe(10)
    },
  },
]

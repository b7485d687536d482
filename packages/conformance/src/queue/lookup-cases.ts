import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { aborted, Gate, quietMs, soon, until, untilDead, untilEmpty, without } from './handling.ts'
import type { QueueCase } from './queue-case.ts'

const unknownId = 'aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee'

/** Jobs by their ids. */
export const lookupCases: readonly QueueCase[] = [
  {
    name: 'get shows a job in each of its states, with all that it is, and nothing when it is done or was never there',
    control: 'always-waiting',
    skip: without('lookup'),
    async run(world) {
      const [adder, runner] = [await world.node(), await world.node()]
      const queue = adder.queues.open<string>('jobs', { attempts: 2, backoff: soon })
      const beforeMs = Date.now()
      const { id } = await queue.add('fails once', { headers: { of: 'it' } })
      const delayed = await queue.add('delayed', { delayMs: 600_000 })
      const whole = {
        id,
        state: 'waiting',
        payload: 'fails once',
        headers: { of: 'it' },
        attempt: 1,
        attemptsMax: 2,
      }
      expect(await queue.get(id)).toMatchObject(whole)
      expect((await queue.get(id))?.addedAtMs).toBeGreaterThanOrEqual(beforeMs)
      expect(await queue.get(delayed.id)).toMatchObject({ id: delayed.id, state: 'delayed' })
      expect(await queue.get(unknownId)).toBeUndefined()
      const gate = new Gate()
      await runner.queues.open<string>('jobs', { attempts: 2, backoff: soon }).process(async (job) => {
        if (job.payload === 'dead' || job.attempt === 1) throw new Error('again')
        await gate.pass(job)
      })
      await until('it runs again', () => gate.arrived.length === 1)
      expect(await queue.get(id)).toMatchObject({ ...whole, state: 'active', attempt: 2 })
      gate.open()
      await until('it is gone', async () => (await queue.get(id)) === undefined)
      const dead = await queue.add('dead')
      await untilDead(queue, 1)
      expect(await queue.get(dead.id)).toMatchObject({ id: dead.id, payload: 'dead', state: 'dead' })
    },
  },
  {
    name: 'a job that waits or is delayed can be taken back by any node, does not run, and is not found afterwards',
    control: 'removes-nothing',
    skip: without('lookup'),
    async run(world) {
      const [adder, other] = [await world.node(), await world.node()]
      const queue = adder.queues.open<string>('jobs')
      const waiting = await queue.add('waiting')
      const delayed = await queue.add('delayed', { delayMs: 300 })
      await queue.add('left')
      const canceller = other.queues.open<string>('jobs')
      for (const { id } of [waiting, delayed]) {
        expect(await canceller.cancel(id)).toBe('removed')
        expect(await queue.cancel(id)).toBe('not-found')
      }
      expect(await queue.cancel(unknownId)).toBe('not-found')
      const seen: unknown[] = []
      await queue.process(({ payload }) => void seen.push(payload))
      await sleep(300 + quietMs)
      await until('the other one ran', () => seen.length > 0)
      expect(seen).toEqual(['left'])
    },
  },
  {
    name: 'a job that runs here is aborted with the reason "cancelled", is neither tried again nor a dead letter',
    control: 'done-is-done-again',
    skip: without('lookup'),
    async run(world) {
      const node = await world.node()
      const queue = node.queues.open('jobs', { attempts: 3, backoff: soon })
      const reasons: unknown[] = []
      let runs = 0
      await queue.process(async ({ signal }) => {
        runs += 1
        await aborted(signal)
        reasons.push(signal.reason)
        throw new Error('aborted')
      })
      const { id } = await queue.add('job')
      await until('it runs', () => runs === 1)
      expect(await queue.cancel(id)).toBe('aborted')
      await until('it was aborted', () => reasons.length === 1)
      await untilEmpty(queue)
      expect([reasons, runs]).toEqual([['cancelled'], 1])
      expect(await queue.deadLetters.list()).toEqual([])
      expect(await queue.get(id)).toBeUndefined()
    },
  },
  {
    name: 'a job that runs elsewhere is "running", and goes on',
    control: 'running-is-not-found',
    skip: without('lookup'),
    async run(world) {
      const [one, two] = [await world.node(), await world.node()]
      const gate = new Gate()
      const queue = one.queues.open('jobs')
      await queue.process(gate.pass)
      const { id } = await two.queues.open('jobs').add('job')
      await until('it runs', () => gate.arrived.length === 1)
      expect(await two.queues.open('jobs').cancel(id)).toBe('running')
      gate.open()
      await until('it completed', () => one.queues.stats().completed === 1)
    },
  },
  {
    name: 'what a handler says of its progress can be looked up by other nodes: the last of it, whole',
    control: 'progress-is-lost',
    skip: without('progress', 'lookup'),
    async run(world) {
      const [one, two] = [await world.node(), await world.node()]
      const gate = new Gate()
      await one.queues.open('jobs').process(async (job) => {
        await job.progress(10)
        await job.progress({ part: 'ä\u{1F512}', percent: 99.5, steps: [1, null] })
        await gate.pass(job)
      })
      const queue = two.queues.open('jobs')
      const { id } = await queue.add('job')
      await until('it runs', () => gate.arrived.length === 1)
      const found = await queue.get(id)
      expect(found?.progress).toEqual({ part: 'ä\u{1F512}', percent: 99.5, steps: [1, null] })
      gate.open()
    },
  },
]

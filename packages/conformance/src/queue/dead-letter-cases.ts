import { expect } from 'vitest'
import {
  addAll,
  quietMs,
  range,
  soon,
  sorted,
  until,
  untilCounts,
  untilDead,
  untilEmpty,
} from './handling.ts'
import { setTimeout as sleep } from 'node:timers/promises'
import type { QueueCase } from './queue-case.ts'
import type { QueueNode } from './queue-world.ts'

const unknownId = 'aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee'

/** Dead letters with the payloads 1 to `count`. @returns their ids, and a switch that makes them succeed */
async function bury(node: QueueNode, count: number) {
  const queue = node.queues.open<number>('jobs', { attempts: 2, backoff: soon })
  const seen: [unknown, number][] = []
  let isHealed = false
  await queue.process(({ payload, attempt }) => {
    seen.push([payload, attempt])
    if (!isHealed) throw new Error(`no ${payload}`)
  })
  const ids: string[] = []
  for (const payload of range(1, count)) {
    ids.push((await queue.add(payload)).id)
    // One after the other, so that they died in this order.
    await untilDead(queue, payload)
  }
  const heal = (): void => {
    isHealed = true
    seen.length = 0
  }
  return { queue, ids, seen, heal }
}

/** Jobs that were given up. */
export const deadLetterCases: readonly QueueCase[] = [
  {
    name: 'a dead letter says what it was, what it failed with, where, when, and after how many attempts',
    control: 'dead-forgets-its-failure',
    async run(world) {
      const [adder, runner] = [await world.node(), await world.node()]
      const queue = adder.queues.open('jobs', { attempts: 2, backoff: soon })
      await runner.queues.open('jobs').process(({ attempt }) => {
        throw new RangeError(`ä\u{1F512} ${attempt}`)
      })
      const beforeMs = Date.now()
      const payload = { order: 7, text: 'ä' }
      const { id } = await queue.add(payload, { headers: awkward })
      const [letter] = await untilDead(queue, 1)
      expect(letter).toMatchObject({
        id,
        payload,
        headers: awkward,
        failure: {
          reason: 'failed',
          name: 'RangeError',
          message: 'ä\u{1F512} 2',
          nodeId: runner.nodeId,
          attempts: 2,
        },
      })
      expect(letter?.failure.stack).toContain('RangeError: ä\u{1F512} 2')
      expect(letter?.addedAtMs).toBeGreaterThanOrEqual(beforeMs)
      expect(letter?.failure.atMs).toBeGreaterThanOrEqual(letter?.addedAtMs ?? Infinity)
      expect(letter?.failure.atMs).toBeLessThanOrEqual(Date.now())
    },
  },
  {
    name: 'an error of any length, with any characters, makes a dead letter',
    control: 'dead-is-dropped',
    async run(world) {
      const node = await world.node()
      const queue = node.queues.open('jobs')
      await queue.process(() => {
        const error = new Error('ä\u{1F512}\u0000\n'.repeat(30_000))
        error.stack = '漢'.repeat(100_000)
        throw error
      })
      await queue.add('job')
      const [letter] = await untilDead(queue, 1)
      expect(letter?.failure.message.slice(0, 5)).toBe('ä\u{1F512}\u0000\n')
      expect(letter?.failure.stack).toMatch(/^漢+$/)
    },
  },
  {
    name: 'dead letters are listed from the oldest on, as many as asked for, and stay',
    control: 'dead-limit-is-ignored',
    async run(world) {
      const { queue, ids } = await bury(await world.node(), 5)
      for (let round = 0; round < 2; round += 1) {
        const first = await queue.deadLetters.list({ limit: 2 })
        expect(first.map(({ id }) => id)).toEqual(ids.slice(0, 2))
      }
      await until('all are listed', async () => (await queue.deadLetters.list()).length === 5)
      expect((await queue.deadLetters.list()).map(({ id }) => id)).toEqual(ids)
    },
  },
  {
    name: 'redrive by ids makes these wait again, with all their attempts, and no others',
    control: 'redrives-all',
    async run(world) {
      const { queue, ids, seen } = await bury(await world.node(), 4)
      seen.length = 0
      const [, second = '', , fourth = ''] = ids
      expect(await queue.deadLetters.redrive({ ids: [unknownId] })).toBe(0)
      expect(await queue.deadLetters.redrive({ ids: [second, unknownId, fourth] })).toBe(2)
      await until('both were tried twice again', () => seen.length >= 4)
      expect(seen.toSorted(([a], [b]) => Number(a) - Number(b))).toEqual([
        [2, 1],
        [2, 2],
        [4, 1],
        [4, 2],
      ])
      const letters = await untilDead(queue, 4)
      expect(letters.map(({ id }) => id).toSorted()).toEqual(ids.toSorted())
      for (const { failure } of letters) expect(failure.attempts).toBe(2)
    },
  },
  {
    name: 'redrive of all makes all wait again, and what succeeds then is gone',
    control: 'redrives-none',
    async run(world) {
      const { queue, seen, heal } = await bury(await world.node(), 5)
      heal()
      expect(await queue.deadLetters.redrive({ limit: 2 })).toBe(2)
      await until('two ran', () => seen.length === 2)
      await untilCounts(queue, { waiting: 0, active: 0, dead: 3 })
      expect(await queue.deadLetters.redrive()).toBe(3)
      await until('all ran', () => seen.length === 5)
      await untilCounts(queue, { waiting: 0, active: 0, dead: 0 })
      expect(sorted(seen.map(([payload]) => payload))).toEqual(range(1, 5))
      expect(await queue.deadLetters.list()).toEqual([])
      expect(await queue.deadLetters.redrive()).toBe(0)
    },
  },
  {
    name: 'a dead letter that waits again runs, also when it has expired meanwhile',
    control: 'redrives-none',
    async run(world) {
      const queue = (await world.node()).queues.open('jobs')
      let runs = 0
      await queue.process(() => {
        runs += 1
        if (runs === 1) throw new Error('not yet')
      })
      const addedAtMs = Date.now()
      // Longer than its first attempt is late on a busy machine.
      const expiresInMs = 3_000
      await queue.add('job', { expiresInMs })
      const [letter] = await untilDead(queue, 1)
      const lastMs = Math.max(addedAtMs, letter?.addedAtMs ?? 0) + expiresInMs
      await until('it has expired', () => Date.now() > lastMs)
      expect(await queue.deadLetters.redrive()).toBe(1)
      await until('it ran', () => runs === 2)
    },
  },
  {
    name: '500 dead letters wait again in one call, and each runs once',
    control: 'redrives-none',
    async run(world) {
      const node = await world.node()
      const queue = node.queues.open<number>('jobs')
      const seen: unknown[] = []
      let isHealed = false
      const handler = ({ payload }: { readonly payload: unknown }): void => {
        if (!isHealed) throw new Error('not yet')
        seen.push(payload)
      }
      await queue.process(handler, { concurrency: 20 })
      await addAll(queue, range(1, 500))
      await until('all are given up', () => node.queues.stats().dead === 500)
      await untilEmpty(queue)
      isHealed = true
      let redriven = 0
      await until('all wait again', async () => (redriven += await queue.deadLetters.redrive()) >= 500)
      await until('all ran', () => seen.length >= 500)
      await untilEmpty(queue)
      expect(redriven).toBe(500)
      expect(sorted(seen)).toEqual(range(1, 500))
    },
  },
  {
    name: 'purge deletes all dead letters, says how many, and leaves the jobs that wait',
    control: 'dead-is-kept',
    async run(world) {
      const node = await world.node()
      const { queue, seen, heal } = await bury(node, 3)
      heal()
      await queue.pause('node')
      await queue.add(4)
      expect(await queue.deadLetters.purge()).toBe(3)
      expect(await queue.deadLetters.list()).toEqual([])
      expect(await queue.deadLetters.redrive()).toBe(0)
      await queue.resume('node')
      await until('the one that waited ran', () => seen.length > 0)
      await sleep(quietMs)
      expect(seen).toEqual([[4, 1]])
    },
  },
]

const awkward = { 'ä:': 'line\nline', empty: '' }

import { randomUUID } from 'node:crypto'
import { isMultinodeError, type NewJob, type Schema } from '@multinode/core'
import { expect } from 'vitest'
import { Gate, range, refusal, soon, until, untilCounts, untilDead, untilEmpty, without } from './handling.ts'
import type { QueueCase } from './queue-case.ts'
import { callMs } from './queue-world.ts'

const payloads: readonly unknown[] = [
  { id: 7, text: 'ä\u{1F512}\n"\\', none: null, list: [1, [2.5]], deep: { a: { b: {} } } },
  'text',
  'ä\u{1F512}\u0000\u2028漢',
  '\ud800',
  '',
  '{"is":"text"}',
  0,
  -1.5e300,
  1e21,
  true,
  false,
  null,
  undefined,
  [],
  {},
]

const awkwardNames = [
  'b',
  'B',
  'a.b',
  'x.a.b',
  '*.b',
  '#',
  'a:b',
  ':',
  'a@b',
  'a b',
  ' ',
  '{a}',
  '}{',
  'a/b?c=d%20',
  'ä\u{1F512}漢',
  'n'.repeat(1_024),
  `${'n'.repeat(1_023)}m`,
  'ä'.repeat(1_024),
]

const awkwardHeaders = {
  traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
  'x-death': 'ours',
  'x-delay': '1000',
  CC: 'a.b',
  'ä \u{1F512}:': 'line\nline\u0000"',
  empty: '',
  [`long-${'n'.repeat(300)}`]: 'v'.repeat(2_000),
}

const numbers: Schema<number> = {
  '~standard': {
    version: 1,
    validate: (value) =>
      typeof value === 'number' ? { value } : { issues: [{ message: 'this is no number' }] },
  },
}

/** A job as core makes it. */
function newJob(id: string, payload: string): NewJob {
  return {
    record: {
      id,
      payload,
      headers: {},
      addedAtMs: Date.now(),
      attemptsMax: 3,
      backoff: { ...soon, maxDelayMs: 1_000 },
      timeoutMs: undefined,
      expiresAtMs: undefined,
    },
    delayMs: 0,
    priority: 'normal',
    dedupe: undefined,
  }
}

/** What is accepted, and what arrives of it. */
export const addingCases: readonly QueueCase[] = [
  {
    name: 'payloads arrive as they were: every kind of JSON, any characters, empty ones, and nothing',
    control: 'payload-is-latin',
    async run(world) {
      const [adder, runner] = [await world.node(), await world.node()]
      const seen: unknown[] = []
      await runner.queues.open('jobs').process(({ payload }) => void seen.push(payload))
      for (const payload of payloads) await adder.queues.open('jobs').add(payload)
      await until('all arrived', () => seen.length === payloads.length)
      expect(seen).toStrictEqual(payloads)
    },
  },
  {
    name: 'the longest payload that the driver takes arrives whole',
    control: 'long-payload-is-cut',
    async run(world) {
      const [adder, runner] = [await world.node(), await world.node()]
      const payload = 'ab'.repeat(adder.driver.features.maxBytes / 2).slice(2)
      const seen: unknown[] = []
      await runner.queues.open('jobs').process((job) => void seen.push(job.payload === payload))
      await adder.queues.open('jobs').add(payload)
      await until('it arrived', () => seen.length > 0)
      expect(seen).toEqual([true])
    },
  },
  {
    name: 'a job that is too long, by its payload or its headers, is refused, and its neighbours arrive',
    control: 'batch-loses-its-last',
    async run(world) {
      const node = await world.node()
      const queue = node.queues.open<string>('jobs')
      const { maxBytes } = node.driver.features
      const seen: unknown[] = []
      await queue.process(({ payload }) => void seen.push(payload))
      const tooLong = { code: 'TOO_LARGE', outcome: 'not-sent', details: { most: maxBytes } }
      expect(await refusal(queue.add('x'.repeat(maxBytes - 1)))).toMatchObject(tooLong)
      const headers = { long: 'x'.repeat(maxBytes) }
      expect(await refusal(queue.add('', { headers }))).toMatchObject(tooLong)
      const results = await queue.addMany([
        { payload: 'one' },
        { payload: 'x'.repeat(maxBytes - 1) },
        { payload: 'two' },
        { payload: '', options: { headers } },
        { payload: 'three' },
      ])
      expect(results.map(({ status }) => status)).toEqual(['added', 'failed', 'added', 'failed', 'added'])
      for (const place of [1, 3]) expect(results[place]).toMatchObject({ error: tooLong })
      await until('the others arrived', () => seen.length === 3)
      expect(seen).toEqual(['one', 'two', 'three'])
    },
  },
  {
    name: 'headers of any name and value travel with their job, also into its next attempt',
    control: 'headers-are-lost',
    async run(world) {
      const [adder, runner] = [await world.node(), await world.node()]
      const seen: unknown[] = []
      await runner.queues.open('jobs').process(({ headers, attempt }) => {
        seen.push(headers)
        if (attempt === 1) throw new Error('again')
      })
      const queue = adder.queues.open('jobs')
      await queue.add('with', { headers: awkwardHeaders, attempts: 2, backoff: soon })
      await until('it arrived twice', () => seen.length === 2)
      await queue.add('without')
      await until('the other arrived', () => seen.length === 3)
      expect(seen).toEqual([awkwardHeaders, awkwardHeaders, {}])
    },
  },
  {
    name: 'a job has the id that add has returned, when it was added, and no other has that id',
    control: 'ids-are-changed',
    async run(world) {
      const [adder, runner] = [await world.node(), await world.node()]
      const seen = new Map<unknown, { id: string; queue: string; addedAtMs: number }>()
      await runner.queues.open('jobs').process((job) => void seen.set(job.payload, job))
      const ids = new Map<unknown, string>()
      const beforeMs = Date.now()
      for (const payload of range(1, 20)) {
        const { id, status } = await adder.queues.open('jobs').add(payload)
        expect(status).toBe('added')
        ids.set(payload, id)
      }
      await until('all arrived', () => seen.size === 20)
      expect(new Set(ids.values()).size).toBe(20)
      for (const [payload, { id, queue, addedAtMs }] of seen) {
        expect([id, queue]).toEqual([ids.get(payload), 'jobs'])
        expect(addedAtMs).toBeGreaterThanOrEqual(beforeMs)
        expect(addedAtMs).toBeLessThanOrEqual(Date.now())
      }
    },
  },
  {
    name: `each job arrives at its queue and at no other: ${awkwardNames.length} awkward names`,
    control: 'names-are-folded',
    async run(world) {
      const [adder, runner] = [await world.node(), await world.node()]
      const seen = new Map<string, unknown[]>()
      for (const name of awkwardNames) {
        const list: unknown[] = []
        seen.set(name, list)
        await runner.queues.open(name).process(({ payload }) => void list.push(payload))
      }
      // From the last on: taking turns at a queue of many names would look right otherwise.
      for (const name of awkwardNames.toReversed()) await adder.queues.open(name).add(name)
      const arrived = (): number => [...seen.values()].flat().length
      await until('all arrived', () => arrived() === awkwardNames.length)
      for (const [name, list] of seen) expect(list).toEqual([name])
    },
  },
  {
    name: 'so does each job with a delay, and each that is tried again',
    control: 'delay-goes-by-the-end-of-a-name',
    async run(world) {
      const [adder, runner] = [await world.node(), await world.node()]
      const seen = new Map<string, unknown[]>()
      for (const name of awkwardNames) {
        const list: unknown[] = []
        seen.set(name, list)
        await runner.queues.open(name).process(({ payload, attempt }) => {
          list.push(`${String(payload)} ${attempt}`)
          if (attempt === 1) throw new Error('again')
        })
      }
      const options = { delayMs: 150, attempts: 2, backoff: { ...soon, delayMs: 150 } }
      for (const name of awkwardNames) await adder.queues.open(name).add(name, options)
      const arrived = (): number => [...seen.values()].flat().length
      await until('all arrived', () => arrived() === awkwardNames.length * 2)
      for (const [name, list] of seen) expect(list).toEqual([`${name} 1`, `${name} 2`])
    },
  },
  {
    name: 'addMany takes 2,500 jobs, says of each in order what became of it, and each runs once',
    control: 'replies-are-out-of-order',
    async run(world) {
      const [adder, runner] = [await world.node(), await world.node()]
      const queue = adder.queues.open<number>('jobs')
      const seen: [unknown, string][] = []
      const handler = ({ payload, id }: { readonly payload: unknown; readonly id: string }): void =>
        void seen.push([payload, id])
      await runner.queues.open('jobs').process(handler, { concurrency: 20 })
      const payloadsOfAll = range(0, 2_499)
      const results = await queue.addMany(payloadsOfAll.map((payload) => ({ payload })))
      const ids = results.map((result) => (result.status === 'added' ? result.id : 'none'))
      await until('all arrived', () => seen.length >= 2_500)
      await untilEmpty(queue)
      expect(seen.toSorted(([a], [b]) => Number(a) - Number(b))).toEqual(
        payloadsOfAll.map((payload) => [payload, ids[payload]]),
      )
    },
  },
  {
    name: 'addMany has options for each job, refuses each on its own, and takes none at all',
    control: 'batch-loses-its-last',
    async run(world) {
      const node = await world.node()
      const queue = node.queues.open<number>('jobs')
      const seen: unknown[] = []
      await queue.process(({ payload, headers }) => void seen.push([payload, headers]))
      expect(await queue.addMany([])).toEqual([])
      const results = await queue.addMany([
        { payload: 1, options: { delayMs: 300, headers: { of: 'one' } } },
        { payload: 2, options: { attempts: 0 } },
        { payload: 3, options: { headers: { of: 'three' } } },
        { payload: 4, options: { priority: 'high' } },
        { payload: 5 },
      ])
      expect(results.map((each) => (each.status === 'failed' ? each.error.code : each.status))).toEqual([
        'added',
        'INVALID_ARGUMENT',
        'added',
        'INVALID_ARGUMENT',
        'added',
      ])
      await until('all arrived', () => seen.length === 3)
      expect(seen).toEqual([
        [3, { of: 'three' }],
        [5, {}],
        [1, { of: 'one' }],
      ])
    },
  },
  {
    name: 'a request that is repeated while its jobs are there adds none of them twice',
    control: 'adds-repeats',
    // A backend that cannot tell one job from another cannot do this either.
    skip: without('dedupe'),
    async run(world) {
      const node = await world.node()
      const line = await node.driver.open({ name: 'jobs', hasPriorities: false }, callMs)
      const gate = new Gate()
      const queue = node.queues.open('jobs')
      await queue.process(gate.pass)
      const jobs = range(1, 3).map((payload) => newJob(randomUUID(), `${payload}`))
      const added = jobs.map(({ record: { id } }) => ({ status: 'added', id }))
      expect(await line.add(jobs, callMs)).toEqual(added)
      expect(await line.add(jobs, callMs)).toEqual(added)
      await until('the first one runs', () => gate.arrived.length > 0)
      expect(await line.add(jobs, callMs)).toEqual(added)
      gate.open()
      await until('all ran', () => gate.arrived.length >= 3)
      await untilEmpty(queue)
      expect(gate.arrived).toEqual([1, 2, 3])
    },
  },
  {
    name: 'what does not fit the schema is refused when it is added, and is a dead letter where another version added it',
    control: 'unreadable-is-dropped',
    async run(world) {
      const [older, newer] = [await world.node(), await world.node()]
      const queue = newer.queues.open('jobs', { schema: numbers, attempts: 3, backoff: soon })
      const seen: unknown[] = []
      await queue.process(({ payload }) => void seen.push(payload))
      const misfit: unknown = 'text'
      const added = newer.queues.open<unknown>('jobs', { schema: numbers, attempts: 3, backoff: soon })
      const error = await refusal(added.add(misfit))
      expect(isMultinodeError(error) && error.code).toBe('INVALID_ARGUMENT')
      const other = older.queues.open('jobs', { attempts: 3, backoff: soon })
      const { id } = await other.add('of another version')
      await other.add(7)
      const [letter] = await untilDead(queue, 1)
      expect(letter).toMatchObject({
        id,
        payload: 'of another version',
        failure: { reason: 'invalid', attempts: 1 },
      })
      await until('the other one ran', () => seen.length > 0)
      expect(seen).toEqual([7])
      await untilCounts(queue, { waiting: 0, active: 0, delayed: 0, dead: 1 })
    },
  },
  {
    name: 'a payload that is no JSON is a dead letter at once, shown as it is, and keeps nobody from running',
    control: 'unreadable-is-dropped',
    async run(world) {
      const node = await world.node()
      const line = await node.driver.open({ name: 'jobs', hasPriorities: false }, callMs)
      const queue = node.queues.open('jobs')
      const seen: unknown[] = []
      const id = randomUUID()
      await line.add([newJob(id, '{"cut'), newJob(randomUUID(), '"whole"')], callMs)
      await queue.process(({ payload }) => void seen.push(payload))
      const [letter] = await untilDead(queue, 1)
      expect(letter).toMatchObject({ id, payload: '{"cut', failure: { reason: 'invalid' } })
      await until('the other one ran', () => seen.length > 0)
      expect(seen).toEqual(['whole'])
    },
  },
]

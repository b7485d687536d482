import { tracingChannel } from 'node:diagnostics_channel'
import { afterEach, describe, expect, test } from 'vitest'
import { type AddReply, MultinodeError, type NewJob, type Schema } from '../../src/index.ts'
import { callUntyped } from '../support/call-untyped.ts'
import { failureOf, Later, never, turn, watch } from '../support/outcome.ts'
import { delivery, QueueOn, record } from './queue-on.ts'

const stops: (() => void)[] = []
afterEach(() => {
  for (const stop of stops.splice(0)) stop()
})

function failed(error: MultinodeError): AddReply {
  return { status: 'failed', error }
}

function unavailable(outcome: 'not-sent' | 'unknown'): MultinodeError {
  return new MultinodeError('UNAVAILABLE', 'away', { outcome })
}

function added(jobs: readonly NewJob[]): AddReply[] {
  return jobs.map(({ record: { id } }) => ({ status: 'added', id }))
}

describe('add', () => {
  test('makes a job with an id, the defaults of the queue and the time', async () => {
    const on = new QueueOn()
    const { id, status } = await on.queue().add({ to: 'ann' })
    expect([status, id]).toEqual(['added', expect.stringMatching(/^[0-9a-f-]{36}$/)])
    expect(on.jobs).toEqual([
      {
        record: {
          id,
          payload: '{"to":"ann"}',
          headers: {},
          addedAtMs: on.clock.wallMs(),
          attemptsMax: 1,
          backoff: { type: 'exponential', delayMs: 1_000, maxDelayMs: 3_600_000, jitter: 1 },
          timeoutMs: undefined,
          expiresAtMs: undefined,
        },
        delayMs: 0,
        priority: 'normal',
        dedupe: undefined,
      },
    ])
  })

  test('takes options for one job before those of the queue', async () => {
    const on = new QueueOn()
    const queue = on.queue({ attempts: 4, timeoutMs: 10, expiresInMs: 100, priorities: true })
    await queue.add(1)
    await queue.add(2, {
      attempts: 9,
      backoff: { type: 'fixed', delayMs: 7, jitter: 0 },
      timeoutMs: 20,
      expiresInMs: 200,
      delayMs: 30,
      priority: 'high',
      dedupe: { key: 'k', ttlMs: 5 },
      headers: { trace: 'abc' },
    })
    const now = on.clock.wallMs()
    expect(on.jobs[0]).toMatchObject({
      record: { attemptsMax: 4, timeoutMs: 10, expiresAtMs: now + 100 },
      delayMs: 0,
      priority: 'normal',
    })
    expect(on.jobs[1]).toMatchObject({
      record: {
        attemptsMax: 9,
        backoff: { type: 'fixed', delayMs: 7, maxDelayMs: 3_600_000, jitter: 0 },
        timeoutMs: 20,
        expiresAtMs: now + 200,
        headers: { trace: 'abc' },
      },
      delayMs: 30,
      priority: 'high',
      dedupe: { key: 'k', ttlMs: 5 },
    })
  })

  test.each([
    [5_000, 5_000],
    [-5_000, 0],
  ])('runAt of now and %d ms is a delay of %d', async (inMs, delayMs) => {
    const on = new QueueOn()
    await on.queue().add(1, { runAt: new Date(on.clock.wallMs() + inMs) })
    expect(on.jobs).toMatchObject([{ delayMs }])
  })

  test('says which job is there when this one is a duplicate', async () => {
    const on = new QueueOn({ add: async () => [{ status: 'duplicate', id: 'first' }] })
    expect(await on.queue().add(1, { dedupe: { key: 'k' } })).toEqual({ status: 'duplicate', id: 'first' })
  })

  const circular: { self?: unknown } = {}
  circular.self = circular
  const throwing = {
    toJSON: (): never => {
      throw new Error('secret')
    },
  }
  test.each([
    ['NaN', Number.NaN],
    ['Infinity', Infinity],
    ['an invalid date', new Date(Number.NaN)],
    ['a bigint', 1n],
    ['a bigint inside', { n: 1n }],
    ['a function', (): void => {}],
    ['a symbol', Symbol('s')],
    ['a circle', circular],
    ['a toJSON that throws', throwing],
    ['a toJSON that returns nothing', { toJSON: (): undefined => undefined }],
    ['bytes', Buffer.from('a')],
    ['a buffer', new ArrayBuffer(1)],
  ])('refuses %s as a payload', async (_, payload) => {
    const on = new QueueOn()
    const error = await failureOf(() => on.queue().add(payload))
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', details: { name: 'payload' } })
    expect(error).toHaveProperty('message', expect.not.stringContaining('secret'))
    expect(on.added).toEqual([])
  })

  test.each([
    [undefined, ''],
    [null, 'null'],
    [-0, '0'],
    ['\uD800', '"\\ud800"'],
    [[undefined, Number.NaN], '[null,null]'],
    [new Date(0), '"1970-01-01T00:00:00.000Z"'],
  ])('stores %j as JSON does: %s', async (payload, text) => {
    const on = new QueueOn()
    await on.queue().add(payload)
    expect(on.jobs).toMatchObject([{ record: { payload: text } }])
  })

  test.each([
    ['attempts', { attempts: 1.5 }, '1.5'],
    ['timeoutMs', { timeoutMs: 0 }, '0'],
    ['expiresInMs', { expiresInMs: Number.NaN }, 'NaN'],
    ['backoff.jitter', { backoff: { type: 'fixed', delayMs: 1, jitter: 2 } }, '2'],
    ['delayMs', { delayMs: -1 }, '-1'],
    ['runAt', { runAt: new Date(Number.NaN) }, 'Date'],
    ['runAt', { runAt: new Date(), delayMs: 1 }, 'both'],
    ['priority', { priority: 'urgent' }, 'priorit'],
    ['priority', { priority: 'high' }, 'priorities: true'],
    ['dedupe.key', { dedupe: { key: '' } }, '""'],
    ['dedupe.ttlMs', { dedupe: { key: 'k', ttlMs: 0 } }, '0'],
    ['ttl', { dedupe: { key: 'k', ttl: 1 } }, 'ttl'],
    ['headers.a', { headers: { a: 1 } }, '1'],
    ['headers.a', { headers: { a: '\uDC00' } }, 'lone surrogate'],
    ['a name in headers', { headers: { '': 'a' } }, '""'],
    ['delay', { delay: 1 }, 'delay'],
  ])('refuses a wrong %s by name and value: %j', async (name, options, value) => {
    const on = new QueueOn()
    const error = await failureOf(() => callUntyped(on.queue(), 'add', [1, options]))
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', details: { name } })
    expect(error).toHaveProperty('message', expect.stringContaining(value))
    expect(on.added).toEqual([])
  })

  test('refuses a priority that does not exist in a queue that has them', async () => {
    const queue = new QueueOn().queue({ priorities: true })
    const error = await failureOf(() => callUntyped(queue, 'add', [1, { priority: 'urgent' }]))
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringContaining('"urgent"') })
  })

  test('counts payload and headers in bytes', async () => {
    const on = new QueueOn({}, { maxBytes: 20 })
    await on.queue().add('é'.repeat(6), { headers: { a: '12345' } })
    const error = await failureOf(() => on.queue().add('é'.repeat(6), { headers: { a: '123456' } }))
    expect(error).toMatchObject({
      code: 'TOO_LARGE',
      outcome: 'not-sent',
      details: { queue: 'mails', bytes: 21, most: 20 },
    })
    expect(on.added).toHaveLength(1)
  })

  test('is repeated with the same id through a short outage', async () => {
    let calls = 0
    const on = new QueueOn({
      add: async (jobs) => {
        calls += 1
        if (calls === 1) throw unavailable('unknown')
        return calls === 2 ? [failed(unavailable('not-sent'))] : added(jobs)
      },
    })
    const adding = watch(on.queue().add(1))
    await on.clock.advance(300)
    expect(adding.value).toMatchObject({ status: 'added' })
    expect(new Set(on.jobs.map((job) => job.record.id)).size).toBe(1)
    expect([on.jobs.length, on.queues.stats().added]).toEqual([3, 1])
  })

  test.each(['not-sent', 'unknown'] as const)(
    'rejects with %s when that was so all the time',
    async (outcome) => {
      const on = new QueueOn({ add: () => Promise.reject(unavailable(outcome)) })
      const adding = watch(on.queue().add(1))
      await on.clock.advance(5_500)
      expect(adding.value).toMatchObject({ code: 'UNAVAILABLE', outcome })
      expect(on.queues.stats().added).toBe(0)
    },
  )

  test.each([
    ['a request', (): Promise<AddReply[]> => Promise.reject(unavailable('unknown'))],
    ['a reply', async (): Promise<AddReply[]> => [failed(unavailable('unknown'))]],
  ])('rejects with unknown when one of its requests may have arrived: %s', async (_, first) => {
    let calls = 0
    const on = new QueueOn({
      add: async () => {
        calls += 1
        if (calls === 1) return first()
        throw unavailable('not-sent')
      },
    })
    const adding = watch(on.queue().add(1))
    await on.clock.advance(5_500)
    expect(calls).toBeGreaterThan(1)
    expect(adding.value).toMatchObject({ code: 'UNAVAILABLE', outcome: 'unknown' })
  })

  test('rejects with unknown also when its last reply is that it was not sent', async () => {
    let calls = 0
    const on = new QueueOn({
      add: async () => {
        calls += 1
        return [failed(unavailable(calls === 1 ? 'unknown' : 'not-sent'))]
      },
    })
    const adding = watch(on.queue().add(1))
    await on.clock.advance(5_500)
    expect(adding.value).toMatchObject({
      code: 'UNAVAILABLE',
      outcome: 'unknown',
      cause: { outcome: 'not-sent' },
    })
  })

  test('does not repeat what no repetition will help', async () => {
    const on = new QueueOn({ add: async () => [failed(new MultinodeError('REJECTED', 'unroutable'))] })
    expect(await failureOf(() => on.queue().add(1))).toMatchObject({ code: 'REJECTED' })
    expect(on.added).toHaveLength(1)
  })

  test('settles in time when the driver never answers', async () => {
    const on = new QueueOn({ add: never })
    const adding = watch(on.queue().add(1))
    await on.clock.advance(5_250)
    expect(adding.value).toMatchObject({ code: 'TIMEOUT', outcome: 'unknown' })
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('says so when the driver gives no reply', async () => {
    const on = new QueueOn({ add: async () => [] })
    expect(await failureOf(() => on.queue().add(1))).toMatchObject({ code: 'INTERNAL', outcome: 'unknown' })
  })
})

describe('a schema', () => {
  const numbers: Schema<number> = {
    '~standard': {
      version: 1,
      validate(value) {
        if (value === 'break') throw new Error('defect of the schema')
        return typeof value === 'number'
          ? { value: value * 2 }
          : { issues: [{ message: 'a number, please' }] }
      },
    },
  }

  test('is asked before a job is added, and what it makes of the payload is stored', async () => {
    const on = new QueueOn()
    const queue = on.queues.open('numbers', { schema: numbers })
    await queue.add(2)
    expect(on.jobs).toMatchObject([{ record: { payload: '4' } }])
    const refused = await failureOf(() => callUntyped(queue, 'add', ['two']))
    expect(refused).toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('a number, please'),
    })
  })

  test("that throws is that item's failure only", async () => {
    const on = new QueueOn()
    const queue = on.queues.open<unknown>('numbers', { schema: numbers })
    expect(await queue.addMany([{ payload: 'break' }, { payload: 1 }])).toMatchObject([
      { status: 'failed', error: { code: 'INVALID_ARGUMENT', cause: new Error('defect of the schema') } },
      { status: 'added' },
    ])
  })
})

describe('addMany', () => {
  test('says of each what became of it, in order; the refused keep nobody back', async () => {
    const on = new QueueOn({
      add: async (jobs) =>
        jobs.map(({ record: { id, payload } }) =>
          payload === '3' ? failed(new MultinodeError('REJECTED', 'full')) : { status: 'added', id },
        ),
    })
    const untyped: unknown[] = [{ payload: 1 }, { payload: 1n }, undefined, { payload: 3 }, { payload: 4 }]
    expect(await callUntyped(on.queue(), 'addMany', [untyped])).toMatchObject([
      { status: 'added', id: on.jobs[0]?.record.id },
      { status: 'failed', error: { code: 'INVALID_ARGUMENT' } },
      { status: 'failed', error: { code: 'INVALID_ARGUMENT', details: { name: 'items[2]' } } },
      { status: 'failed', error: { code: 'REJECTED' } },
      { status: 'added', id: on.jobs[2]?.record.id },
    ])
    expect([on.added.length, on.queues.stats().added]).toEqual([1, 2])
  })

  test('repeats only what failed for now', async () => {
    let calls = 0
    const on = new QueueOn({
      add: async (jobs) => {
        calls += 1
        const replies = added(jobs)
        return calls === 1 ? [...replies.slice(0, 2), failed(unavailable('not-sent'))] : replies
      },
    })
    const adding = watch(on.queue().addMany([{ payload: 1 }, { payload: 2 }, { payload: 3 }]))
    await on.clock.advance(200)
    expect(adding.value).toMatchObject([{ status: 'added' }, { status: 'added' }, { status: 'added' }])
    expect(on.added.map((jobs) => jobs.map((job) => job.record.payload))).toEqual([['1', '2', '3'], ['3']])
  })

  test('says what is known when the time is over', async () => {
    let calls = 0
    const on = new QueueOn({
      add: async (jobs) => {
        calls += 1
        return calls === 1 ? [...added(jobs.slice(1)), failed(unavailable('not-sent'))] : never()
      },
    })
    const adding = watch(on.queue().addMany([{ payload: 1 }, { payload: 2 }]))
    await on.clock.advance(5_500)
    expect(adding.value).toMatchObject([
      { status: 'added' },
      { status: 'failed', error: { code: 'TIMEOUT', outcome: 'unknown' } },
    ])
  })

  test('of nothing asks nobody; of no array is refused', async () => {
    const on = new QueueOn()
    expect([await on.queue().addMany([]), on.opened]).toEqual([[], 0])
    const error = await failureOf(() => callUntyped(on.queue(), 'addMany', ['no array']))
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', details: { name: 'items' } })
  })

  test('of thousands lets others have their turn', async () => {
    const on = new QueueOn()
    const items = Array.from({ length: 5_000 }, (_, payload) => ({ payload }))
    const adding = watch(on.queue().addMany(items))
    let turns = 0
    while (adding.state === 'pending') {
      await turn()
      turns += 1
    }
    expect(turns).toBeGreaterThan(5)
    expect(on.jobs.map((job) => job.record.payload)).toEqual(items.map(({ payload }) => String(payload)))
  })
})

describe('what a backend cannot do is UNSUPPORTED', () => {
  test.each([
    ['add', [1, { dedupe: { key: 'k' } }], 'dedupe'],
    ['get', ['id'], 'lookup'],
    ['cancel', ['id'], 'lookup'],
    ['pause', ['cluster'], 'clusterPause'],
    ['resume', ['cluster'], 'clusterPause'],
    ['drain', [], 'exactCounts'],
  ])('%s(%j) without %s', async (method, args, feature) => {
    const on = new QueueOn({}, { [feature]: false })
    const error = await failureOf(() => callUntyped(on.queue(), method, args))
    expect(error).toMatchObject({ code: 'UNSUPPORTED' })
    expect(on.added).toEqual([])
  })
})

describe('the other calls', () => {
  test('counts and purge pass on what is not known', async () => {
    const unknown = { waiting: 3, active: null, delayed: null, dead: 0, oldestWaitingMs: null }
    const on = new QueueOn({ counts: async () => unknown })
    expect([await on.queue().counts(), await on.queue().purge()]).toEqual([unknown, null])
  })

  test('get shows a job as it was added, cancel takes it back', async () => {
    const stored = { record: record({ payload: '{' }), state: 'waiting', attempt: 2, progress: 5 } as const
    const on = new QueueOn({ get: async () => stored, remove: async () => 'removed' })
    expect(await on.queue().get('job-1')).toEqual({
      id: 'job-1',
      state: 'waiting',
      payload: '{',
      headers: {},
      attempt: 2,
      attemptsMax: 3,
      addedAtMs: 0,
      progress: 5,
    })
    expect(await on.queue().cancel('job-1')).toBe('removed')
    expect(await new QueueOn().queue().get('job-1')).toBeUndefined()
    expect(await new QueueOn().queue().cancel('job-1')).toBe('not-found')
  })

  test('pause and resume of the cluster tell the backend', async () => {
    const told: boolean[] = []
    const on = new QueueOn({ pauseAll: async (isPaused) => void told.push(isPaused) })
    await on.queue().process(() => {})
    await on.queue().pause('cluster')
    await on.queue().resume('cluster')
    expect([told, on.consumer.calls]).toEqual([[true, false], []])
    const error = await failureOf(() => callUntyped(on.queue(), 'pause', ['world']))
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', details: { name: 'scope' } })
  })

  test('drain waits until nothing waits and nothing runs', async () => {
    let waiting = 1
    let active = 1
    const on = new QueueOn({
      counts: async () => ({ waiting, active, delayed: 9, dead: 9, oldestWaitingMs: 0 }),
    })
    const draining = watch(on.queue().drain())
    await on.clock.advance(1_000)
    waiting = 0
    await on.clock.advance(1_000)
    expect(draining.state).toBe('pending')
    active = 0
    await on.clock.advance(100)
    expect([draining.value, on.clock.pendingTimers]).toEqual([true, 0])
  })

  test('drain says when that was not so in time', async () => {
    const on = new QueueOn({
      counts: async () => ({ waiting: 1, active: 0, delayed: 0, dead: 0, oldestWaitingMs: 0 }),
    })
    expect(await on.queue().drain({ timeoutMs: 0 })).toBe(false)
    const draining = watch(on.queue().drain({ timeoutMs: 1_000 }))
    await on.clock.advance(1_000)
    expect(draining.value).toBe(false)
    const error = await failureOf(() => callUntyped(on.queue(), 'drain', [{ timeout: 1 }]))
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', details: { name: 'timeout' } })
  })
})

describe('the tracing channels of queues', () => {
  interface Traced {
    readonly id: string
    readonly queue: string
    readonly headers: Record<string, string>
  }

  function onStart(channel: string, start: (message: Traced) => void): void {
    const tracing = tracingChannel<string, Traced>(channel)
    const ignore = (): void => {}
    const subscribers = { start, end: ignore, asyncStart: ignore, asyncEnd: ignore, error: ignore }
    tracing.subscribe(subscribers)
    stops.push(() => tracing.unsubscribe(subscribers))
  }

  test('let what a subscriber puts into the headers travel with the job', async () => {
    onStart('multinode:queue.add', ({ headers }) => {
      headers['traceparent'] = 'abc'
    })
    const on = new QueueOn()
    const { id } = await on.queue().add(1)
    await on.queue().add(2, { headers: { own: 'x' } })
    expect(on.jobs.map((job) => job.record.headers)).toEqual([
      { traceparent: 'abc' },
      { own: 'x', traceparent: 'abc' },
    ])
    const seen: unknown[] = []
    onStart('multinode:queue.process', (message) => seen.push({ ...message }))
    await on.queue().process(() => {})
    await on.consumer.receiver.run(delivery({ id, headers: { traceparent: 'abc' } }))
    expect(seen).toEqual([{ queue: 'mails', id, attempt: 1, headers: { traceparent: 'abc' } }])
  })

  test('let it travel with each of many', async () => {
    onStart('multinode:queue.add', ({ headers, id }) => {
      headers['about'] = id
    })
    const on = new QueueOn()
    await on.queue().addMany([{ payload: 1 }, { payload: 2 }])
    expect(on.jobs).toHaveLength(2)
    for (const { record: each } of on.jobs) expect(each.headers).toEqual({ about: each.id })
  })

  test('do not let the headers of one job get into another, nor grow beyond what is allowed', async () => {
    const given = { own: 'x' }
    let added = 'small'
    onStart('multinode:queue.add', ({ headers }) => {
      headers['trace'] = added
    })
    const on = new QueueOn({}, { maxBytes: 50 })
    await on.queue().add(1, { headers: given })
    added = 'l'.repeat(50)
    expect(await failureOf(() => on.queue().add(1))).toMatchObject({ code: 'TOO_LARGE' })
    expect([given, on.jobs.length]).toEqual([{ own: 'x' }, 1])
  })

  test('tell how a handler ended', async () => {
    const errors: unknown[] = []
    const tracing = tracingChannel<string, Traced & { error?: unknown }>('multinode:queue.process')
    const ignore = (): void => {}
    const subscribers = {
      start: ignore,
      end: ignore,
      asyncStart: ignore,
      asyncEnd: ignore,
      error: ({ error }: { readonly error?: unknown }): void => void errors.push(error),
    }
    tracing.subscribe(subscribers)
    stops.push(() => tracing.unsubscribe(subscribers))
    const on = new QueueOn()
    const work = new Later<void>()
    await on.queue().process(() => work.promise)
    const settled = watch(on.consumer.receiver.run(delivery()))
    work.reject('why')
    await turn()
    expect([errors, settled.value]).toMatchObject([['why'], { type: 'retry' }])
  })
})

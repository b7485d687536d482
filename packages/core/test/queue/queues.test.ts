import { describe, expect, test } from 'vitest'
import { createCluster, type Schema } from '../../src/index.ts'
import { callUntyped } from '../support/call-untyped.ts'
import { failureOf, Later, never, turn, watch } from '../support/outcome.ts'
import { delivery, QueueOn } from './queue-on.ts'

const anything: Schema<unknown> = { '~standard': { version: 1, validate: (value) => ({ value }) } }

describe('queues by name', () => {
  test('of the same options are one, without a round trip', () => {
    const on = new QueueOn()
    const backoff = { type: 'fixed', delayMs: 5 } as const
    const queue = on.queues.open('a', { attempts: 3, backoff, schema: anything })
    expect(on.queues.open('a', { attempts: 3, backoff: { ...backoff }, schema: anything })).toBe(queue)
    expect(on.queues.open('b')).not.toBe(queue)
    expect(on.queues.open('b', { attempts: 1, priorities: false })).toBe(on.queues.open('b'))
    expect([queue.name, on.opened, on.queues.driver]).toEqual(['a', 0, on.driver])
  })

  test.each([
    { attempts: 2 },
    { backoff: { type: 'fixed', delayMs: 5 } as const },
    { timeoutMs: 5 },
    { expiresInMs: 5 },
    { priorities: true },
    { schema: anything },
  ])('with %j are not those without', async (options) => {
    const on = new QueueOn()
    on.queues.open('a')
    const error = await failureOf(() => on.queues.open('a', options))
    expect(error).toMatchObject({ code: 'ALREADY_EXISTS', details: { name: 'a' } })
  })

  test.each([
    ['name', ['']],
    ['name', ['\uD800']],
    ['attempts', ['a', { attempts: 0 }]],
    ['timeoutMs', ['a', { timeoutMs: 0 }]],
    ['expiresInMs', ['a', { expiresInMs: -1 }]],
    ['priorities', ['a', { priorities: 'yes' }]],
    ['schema', ['a', { schema: {} }]],
    ['backoff.type', ['a', { backoff: { type: 'none', delayMs: 1 } }]],
    ['retries', ['a', { retries: 1 }]],
  ])('refuse a wrong %s by name: %j', async (name, args) => {
    const error = await failureOf(() => callUntyped(new QueueOn().queues, 'open', args))
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', details: { name } })
  })

  test('have one set of counters', async () => {
    const on = new QueueOn()
    await on.queues.open('a').add(1)
    await on.queues.open('b').addMany([{ payload: 1 }, { payload: 2 }])
    await on.queues.open('a').process(never)
    void on.consumer.receiver.run(delivery())
    expect(on.queues.stats()).toEqual({
      added: 3,
      completed: 0,
      failed: 0,
      retried: 0,
      dead: 0,
      expired: 0,
      lockLost: 0,
      settleIgnored: 0,
      running: 1,
    })
  })

  test('open their line at the backend once, and again after that failed', async () => {
    const on = new QueueOn()
    on.answers.open = async () => {
      throw new Error('away')
    }
    const queue = on.queue()
    expect(await failureOf(() => queue.counts())).toMatchObject({ code: 'INTERNAL' })
    delete on.answers.open
    await Promise.all([queue.counts(), queue.purge(), queue.add(1)])
    expect(on.opened).toBe(2)
  })
})

describe('the end of queues', () => {
  test('drain waits for what runs, in all queues, and says what is left', async () => {
    const on = new QueueOn()
    const work = new Later<void>()
    const receivers = []
    for (const name of ['a', 'b', 'c']) {
      await on.queues.open(name).process(() => (name === 'b' ? work.promise : never()), { concurrency: 2 })
      receivers.push(on.consumer.receiver)
    }
    for (const receiver of [receivers[0], receivers[0], receivers[1]]) void receiver?.run(delivery())
    const draining = watch(on.queues.drain(1_000))
    await on.clock.advance(0)
    expect(on.consumers.map(({ calls }) => calls)).toEqual([['pause'], ['pause'], ['pause']])
    work.resolve()
    await on.clock.advance(1_000)
    expect(draining.value).toEqual(['a: 2 running'])
  })

  test('a second drain does not keep the first one from its end', async () => {
    const on = new QueueOn()
    const work = new Later<void>()
    await on.queue().process(() => work.promise)
    void on.consumer.receiver.run(delivery())
    const [first, second] = [watch(on.queues.drain(60_000)), watch(on.queues.drain(10))]
    await on.clock.advance(10)
    expect([first.state, second.value]).toEqual(['pending', ['mails: 1 running']])
    work.resolve()
    await on.clock.advance(0)
    expect([first.value, on.clock.pendingTimers]).toEqual([[], 0])
  })

  test('while it drains jobs are added, and no worker begins; after a close neither', async () => {
    const on = new QueueOn()
    const queue = on.queue()
    await on.queues.drain(0)
    expect(await queue.add(1)).toMatchObject({ status: 'added' })
    const refused = await failureOf(() => queue.process(() => {}))
    expect(refused).toMatchObject({ code: 'CLOSED', message: expect.stringContaining('drains') })
    await on.queues.close()
    for (const [method, ...args] of [
      ['add', 1],
      ['addMany', []],
      ['process', () => {}],
      ['counts'],
      ['pause', 'node'],
      ['resume', 'node'],
      ['drain'],
      ['purge'],
      ['get', 'a'],
      ['cancel', 'a'],
    ] as const) {
      const error = await failureOf(() => callUntyped(queue, method, args))
      expect([method, error]).toMatchObject([method, { code: 'CLOSED', outcome: 'not-sent' }])
    }
  })

  test('a close ends all workers within half a second, also one that closes with a longer grace', async () => {
    const on = new QueueOn()
    const worker = await on.queue().process(never)
    void on.consumer.receiver.run(delivery())
    const [own, all] = [watch(worker.close({ graceMs: 60_000 })), watch(on.queues.close())]
    await on.clock.advance(500)
    expect([own.state, all.state, on.consumer.calls]).toEqual(['resolved', 'resolved', ['pause', 'close']])
    await on.queues.close()
  })
})

describe('queues in a cluster object', () => {
  test('are reached by name, run their jobs on memory, and are in stats() and describe()', async () => {
    await using cluster = await createCluster({ env: {}, capabilities: ['queue'] })
    const queue = cluster.queue<{ to: string }>('mails', { attempts: 2 })
    expect(cluster.queue('mails', { attempts: 2 })).toBe(queue)
    expect(cluster.queues.open('mails', { attempts: 2 })).toBe(queue)
    const came = new Later<unknown>()
    await queue.process(({ payload, attempt }) => {
      if (attempt === 1) throw new Error('once')
      came.resolve(payload)
    })
    const now = { backoff: { type: 'fixed', delayMs: 0 } } as const
    await queue.add({ to: 'ann' }, now)
    expect(await came.promise).toEqual({ to: 'ann' })
    expect(await queue.drain()).toBe(true)
    expect(cluster.stats()).toMatchObject({ lock: undefined, queue: { added: 1, completed: 1, failed: 1 } })
    expect(cluster.describe().capabilities).toMatchObject([{ capability: 'queue', backend: 'memory' }])
  })

  test('drain with it, and name what is left', async () => {
    await using cluster = await createCluster({ env: {}, capabilities: ['queue'] })
    const queue = cluster.queue('mails')
    const begun = new Later<void>()
    await queue.process(({ signal }) => {
      begun.resolve()
      return new Promise((resolve) => signal.addEventListener('abort', resolve))
    })
    await queue.add(1)
    await begun.promise
    expect(await cluster.drain({ deadlineMs: 1 })).toEqual({
      finished: false,
      left: { queue: ['mails: 1 running'] },
    })
    await cluster.close()
    await turn()
    expect(cluster.stats().queue).toMatchObject({ running: 0 })
  })
})

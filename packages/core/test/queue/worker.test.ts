import { describe, expect, test } from 'vitest'
import {
  type Delivery,
  type JobHandler,
  MultinodeError,
  type Queue,
  type QueueOptions,
  RetryLater,
  type Settlement,
  UnrecoverableJobError,
  type Worker,
} from '../../src/index.ts'
import type { ProcessOptions } from '../../src/queue/process-options.ts'
import { type QueueEvents, queueEventNames } from '../../src/queue/queue-events.ts'
import { callUntyped } from '../support/call-untyped.ts'
import { failureOf, Later, never, type Outcome, turn, watch } from '../support/outcome.ts'
import { delivery, HandConsumer, QueueOn, record } from './queue-on.ts'

type Seen = [keyof QueueEvents, object][]

/** All that a queue says from now on. */
function listen(queue: Queue): Seen {
  const seen: Seen = []
  for (const name of queueEventNames) queue.on(name, (event) => void seen.push([name, event]))
  return seen
}

interface Working {
  readonly on: QueueOn
  readonly queue: Queue
  readonly worker: Worker
  readonly consumer: HandConsumer
  readonly seen: Seen
  readonly run: (came?: Delivery) => Promise<Settlement>
}

async function working(
  handler: JobHandler,
  options: ProcessOptions = {},
  queueOptions: QueueOptions<unknown> = {},
): Promise<Working> {
  const on = new QueueOn()
  const queue = on.queue(queueOptions)
  const seen = listen(queue)
  const worker = await queue.process(handler, options)
  const { consumer } = on
  return { on, queue, worker, consumer, seen, run: (came = delivery()) => consumer.receiver.run(came) }
}

describe('what becomes of a job', () => {
  test('whose handler resolves: done', async () => {
    const payloads: unknown[] = []
    const { run, seen, on } = await working(({ payload }) => void payloads.push(payload))
    expect(await run()).toEqual({ type: 'done' })
    expect(await run(delivery({ payload: '' }))).toEqual({ type: 'done' })
    expect(payloads).toEqual([{ to: 'ann' }, undefined])
    expect(seen.slice(0, 2)).toEqual([
      ['active', { id: 'job-1', attempt: 1 }],
      ['completed', { id: 'job-1', attempt: 1, durationMs: 0 }],
    ])
    expect(on.queues.stats()).toMatchObject({ completed: 2, failed: 0, running: 0 })
  })

  test('whose handler rejects: tried again after its backoff', async () => {
    const error = new Error('no')
    const { run, seen, on } = await working(() => Promise.reject(error))
    expect(await run()).toEqual({ type: 'retry', delayMs: 100, isAttempt: true })
    expect(seen.slice(1)).toEqual([
      ['failed', { id: 'job-1', attempt: 1, error, willRetry: true }],
      ['retry', { id: 'job-1', attempt: 1, delayMs: 100 }],
    ])
    expect(on.queues.stats()).toMatchObject({ completed: 0, failed: 1, retried: 1, dead: 0 })
  })

  test('whose last attempt fails: a dead letter that says why, by whom and when', async () => {
    const error = new TypeError('no such user')
    const { run, seen, on } = await working(() => Promise.reject(error))
    expect(await run(delivery({}, { attempt: 3 }))).toEqual({
      type: 'dead',
      failure: {
        reason: 'failed',
        name: 'TypeError',
        message: 'no such user',
        stack: error.stack,
        nodeId: on.context.node.nodeId,
        attempts: 3,
        atMs: on.clock.wallMs(),
      },
    })
    expect(seen.slice(1)).toEqual([
      ['failed', { id: 'job-1', attempt: 3, error, willRetry: false }],
      ['dead', { id: 'job-1', attempt: 3, reason: 'failed', error }],
    ])
    expect(on.queues.stats()).toMatchObject({ failed: 1, retried: 0, dead: 1 })
  })

  test('whose handler says that no attempt will help: a dead letter at once', async () => {
    const { run } = await working(() => Promise.reject(new UnrecoverableJobError('gone')))
    expect(await run()).toMatchObject({ type: 'dead', failure: { reason: 'unrecoverable', attempts: 1 } })
  })

  test('whose handler wants it later: again then, on its last attempt too', async () => {
    const { run, on } = await working(() => Promise.reject(new RetryLater(70)))
    const last = delivery({}, { attempt: 3 })
    expect(await run(last)).toEqual({ type: 'retry', delayMs: 70, isAttempt: false })
    expect(on.queues.stats()).toMatchObject({ failed: 0, retried: 1, dead: 0 })
  })

  test.each([
    ['nothing', undefined, 'undefined', 'undefined'],
    ['text', 'why', 'string', 'why'],
    ['an object without a text form', Object.create(null), 'object', 'Object'],
    ['an error with a stack that is none', Object.assign(new Error('odd'), { stack: 7 }), 'Error', 'odd'],
  ])('whose handler throws %s: a failure in words', async (_, thrown, name, message) => {
    const { run } = await working(() => Promise.reject(thrown))
    const settlement = await run(delivery({ attemptsMax: 1 }))
    expect(settlement).toMatchObject({ failure: { name, message, stack: '' } })
  })

  test('with a long story: what fits', async () => {
    const error = new Error('m'.repeat(10_000))
    const { run } = await working(() => Promise.reject(error))
    const settlement = await run(delivery({ attemptsMax: 1 }))
    if (settlement.type !== 'dead') throw new Error('alive')
    expect([settlement.failure.message.length, settlement.failure.stack.length]).toEqual([1_024, 4_096])
  })

  test('that took too long: tried again, with TIMEOUT as its error and what was thrown as the cause', async () => {
    const { run, seen, on } = await working(async ({ signal }) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      throw new Error('stopped')
    })
    const settled = watch(run(delivery({ timeoutMs: 200 })))
    await on.clock.advance(199)
    expect(settled.state).toBe('pending')
    await on.clock.advance(1)
    expect(settled.value).toEqual({ type: 'retry', delayMs: 100, isAttempt: true })
    const error = expect.objectContaining({ code: 'TIMEOUT', cause: new Error('stopped') })
    expect(seen[1]).toEqual(['failed', { id: 'job-1', attempt: 1, error, willRetry: true }])
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('that took too long and is done all the same: done', async () => {
    const work = new Later<void>()
    const { run, on } = await working(() => work.promise)
    const settled = watch(run(delivery({ timeoutMs: 200 })))
    await on.clock.advance(300)
    work.resolve()
    await on.clock.advance(0)
    expect(settled.value).toEqual({ type: 'done' })
  })

  test('whose handler ignores its signal: its slot is taken until handlerGraceMs', async () => {
    const { run, worker, on } = await working(never, { handlerGraceMs: 1_000 })
    const settled = watch(run(delivery({ timeoutMs: 200 })))
    await on.clock.advance(1_199)
    expect([settled.state, worker.running]).toEqual(['pending', 1])
    await on.clock.advance(1)
    expect([settled.value, worker.running]).toEqual([{ type: 'retry', delayMs: 100, isAttempt: true }, 0])
  })

  test('that is not JSON: a dead letter, without a handler', async () => {
    const { run, seen } = await working(() => expect.fail('it ran'))
    expect(await run(delivery({ payload: '{' }))).toMatchObject({
      type: 'dead',
      failure: { reason: 'invalid' },
    })
    expect(seen.map(([name]) => name)).toEqual(['failed', 'dead'])
  })

  test('that expired: gone, without a handler, and told', async () => {
    const { run, seen, on } = await working(() => expect.fail('it ran'))
    const now = on.clock.wallMs()
    expect(await run(delivery({ expiresAtMs: now - 1 }))).toEqual({ type: 'done' })
    expect(seen).toEqual([['expired', { id: 'job-1' }]])
    expect(on.queues.stats()).toMatchObject({ expired: 1, completed: 0 })
  })

  test('that expires at this very moment: it runs', async () => {
    const { run, on } = await working(() => {})
    await run(delivery({ expiresAtMs: on.clock.wallMs() }))
    expect(on.queues.stats()).toMatchObject({ expired: 0, completed: 1 })
  })
})

describe('a schema', () => {
  function schemaOf(validate: (value: unknown) => Promise<unknown>): QueueOptions<unknown> {
    return {
      schema: {
        '~standard': { version: 1, validate: async (value) => ({ value: await validate(value) }) },
      },
    }
  }

  test('makes of a payload what the handler gets', async () => {
    const payloads: unknown[] = []
    const handler: JobHandler = ({ payload }) => void payloads.push(payload)
    const { run } = await working(
      handler,
      {},
      schemaOf(async (value) => [value]),
    )
    expect(await run()).toEqual({ type: 'done' })
    expect(payloads).toEqual([[{ to: 'ann' }]])
  })

  test('that refuses a payload makes a dead letter of its job, whatever attempts it has', async () => {
    const refusal = new Error('not of this version')
    const { run, seen } = await working(
      () => expect.fail('it ran'),
      {},
      schemaOf(() => Promise.reject(refusal)),
    )
    expect(await run()).toMatchObject({
      type: 'dead',
      failure: { reason: 'invalid', message: 'not of this version' },
    })
    expect(seen.map(([name]) => name)).toEqual(['failed', 'dead'])
  })

  test.each([
    ['times out', async (on: Working) => on.on.clock.advance(100), 'retry'],
    ['is lost', async (on: Working) => on.consumer.receiver.lost('job-1'), 'return'],
    ['is cancelled', async (on: Working) => on.queue.cancel('job-1'), 'done'],
  ])('that takes its time does not let a job run that %s meanwhile', async (_, happen, type) => {
    const answer = new Later<void>()
    const on = await working(
      () => expect.fail('it ran'),
      {},
      schemaOf(() => answer.promise),
    )
    const settled = watch(on.run(delivery({ timeoutMs: 100 })))
    await happen(on)
    answer.resolve()
    await on.on.clock.advance(0)
    expect(settled.value).toMatchObject({ type })
    expect(on.seen.map(([name]) => name)).not.toContain('active')
  })

  test('that takes its time does not let a job run after a close', async () => {
    const answer = new Later<void>()
    const on = await working(
      () => expect.fail('it ran'),
      {},
      schemaOf(() => answer.promise),
    )
    const settled = watch(on.run())
    const closed = watch(on.worker.close({ graceMs: 10 }))
    await on.on.clock.advance(510)
    expect(closed.state).toBe('resolved')
    answer.resolve()
    await on.on.clock.advance(0)
    expect(settled.value).toEqual({ type: 'retry', delayMs: 0, isAttempt: false })
    expect(on.seen.map(([name]) => name)).not.toContain('active')
  })
})

describe('a lost lease', () => {
  test('aborts the signal, and what the handler makes of the job is ignored', async () => {
    const work = new Later<void>()
    const reasons: unknown[] = []
    const { run, consumer, seen, on } = await working(async ({ signal }) => {
      signal.addEventListener('abort', () => reasons.push(signal.reason))
      await work.promise
    })
    const settled = watch(run())
    await turn()
    consumer.receiver.lost('job-1')
    consumer.receiver.lost('job-1')
    consumer.receiver.lost('another')
    work.resolve()
    await turn()
    expect([reasons, settled.value]).toEqual([['lock-lost'], { type: 'return' }])
    expect(seen.map(([name]) => name)).toEqual(['active', 'lock-lost', 'settle-ignored'])
    expect(on.queues.stats()).toMatchObject({ lockLost: 1, settleIgnored: 1, completed: 0 })
  })

  test('lets the job run again on the same worker, while its first handler goes on', async () => {
    const works = [new Later<void>(), new Later<void>()]
    let calls = 0
    const { run, consumer, worker, on } = await working(() => works[calls++]?.promise, { concurrency: 2 })
    const first = watch(run())
    consumer.receiver.lost('job-1')
    const second = watch(run(delivery({}, { redelivered: true })))
    works[0]?.resolve()
    await on.clock.advance(0)
    expect([first.value, worker.running, second.state]).toEqual([{ type: 'return' }, 1, 'pending'])
    consumer.receiver.lost('job-1')
    works[1]?.resolve()
    await on.clock.advance(0)
    expect([second.value, worker.running]).toEqual([{ type: 'return' }, 0])
  })

  test('and a settlement that came too late, and a stalled job, are told', async () => {
    const { consumer, seen, on } = await working(() => {})
    consumer.receiver.settleIgnored('job-7')
    consumer.receiver.stalled('job-8')
    expect(seen).toEqual([
      ['settle-ignored', { id: 'job-7' }],
      ['stalled', { id: 'job-8' }],
    ])
    expect(on.queues.stats()).toMatchObject({ settleIgnored: 1 })
  })
})

describe('cancel', () => {
  test('aborts the job that runs here, which does not come again', async () => {
    const { run, queue, seen, on } = await working(async ({ signal }) => {
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('stopped'))))
    })
    const settled = watch(run())
    expect(await queue.cancel('job-1')).toBe('aborted')
    await on.clock.advance(0)
    expect(settled.value).toEqual({ type: 'done' })
    expect(seen[1]).toMatchObject(['failed', { error: { code: 'ABORTED' }, willRetry: false }])
  })

  test('of one that goes on after its timeout says that it runs: it may be tried again', async () => {
    const { run, queue, on } = await working(never)
    on.answers.remove = async () => 'running'
    const settled = watch(run(delivery({ timeoutMs: 100 })))
    await on.clock.advance(100)
    expect(await queue.cancel('job-1')).toBe('running')
    await on.clock.advance(5_000)
    expect(settled.value).toMatchObject({ type: 'retry' })
  })
})

describe('the idle gate', () => {
  test('pauses the driver while it is shut, and takes nothing', async () => {
    let isIdle = false
    const { run, consumer, on } = await working(() => {}, { idle: () => isIdle })
    await on.clock.advance(0)
    expect(consumer.calls).toEqual(['pause'])
    expect(await run()).toEqual({ type: 'return' })
    isIdle = true
    await on.clock.advance(250)
    expect(consumer.calls).toEqual(['pause', 'resume'])
    expect(await run()).toEqual({ type: 'done' })
    isIdle = false
    await on.clock.advance(250)
    expect(consumer.calls).toEqual(['pause', 'resume', 'pause'])
  })

  test('pauses the driver at once when it shuts between two looks and a job comes', async () => {
    let isIdle = true
    const { run, consumer, on } = await working(() => {}, { idle: () => isIdle })
    isIdle = false
    expect(await run()).toEqual({ type: 'return' })
    await on.clock.advance(0)
    expect(consumer.calls).toEqual(['pause'])
  })

  test.each([
    [
      'throws',
      (): never => {
        throw new Error('defect')
      },
      { message: 'defect' },
    ],
    ['is no boolean', (): unknown => Promise.resolve(true), { code: 'INVALID_ARGUMENT' }],
    ['is NaN', (): unknown => Number.NaN, { code: 'INVALID_ARGUMENT' }],
  ])('whose predicate %s is shut, and that is reported', async (_, idle, reported) => {
    const on = new QueueOn()
    await callUntyped(on.queue(), 'process', [() => {}, { idle }])
    await on.clock.advance(0)
    expect(on.consumer.calls).toEqual(['pause'])
    expect(await on.consumer.receiver.run(delivery())).toEqual({ type: 'return' })
    expect(on.reported.length).toBeGreaterThan(0)
    expect(on.reported[0]).toMatchObject(reported)
  })

  test('is asked no more after a close', async () => {
    let asked = 0
    const idle = (): boolean => (asked += 1) > 0
    const { worker, on } = await working(() => {}, { idle })
    await on.clock.advance(1_000)
    expect(asked).toBeGreaterThan(3)
    await worker.close()
    const before = asked
    await on.clock.advance(10_000)
    expect([asked, on.clock.pendingTimers]).toEqual([before, 0])
  })
})

describe('pause and resume of this node', () => {
  test('are told to the driver one at a time, and the last one counts', async () => {
    const { queue, consumer, run } = await working(() => {})
    const pausing = new Later<void>()
    consumer.answer = (call) => (call === 'pause' ? pausing.promise : Promise.resolve())
    const all = [queue.pause('node'), queue.resume('node'), queue.pause('node'), queue.resume('node')]
    await turn()
    expect(consumer.calls).toEqual(['pause'])
    pausing.resolve()
    await Promise.all(all)
    expect(consumer.calls).toEqual(['pause', 'resume'])
    expect(await run()).toEqual({ type: 'done' })
  })

  test('are never overlooked, in whichever moment they come', async () => {
    for (let ticks = 0; ticks < 30; ticks += 1) {
      const { queue, consumer } = await working(() => {})
      const paused = queue.pause('node')
      for (let tick = 0; tick < ticks; tick += 1) await Promise.resolve()
      await queue.resume('node')
      await paused
      await turn()
      expect([ticks, consumer.calls]).toEqual([ticks, ['pause', 'resume']])
    }
  })

  test('hold for workers that come later', async () => {
    const on = new QueueOn()
    const queue = on.queue()
    await queue.pause('node')
    await queue.process(() => expect.fail('it ran'))
    await turn()
    expect(on.consumer.calls).toEqual(['pause'])
    expect(await on.consumer.receiver.run(delivery())).toEqual({ type: 'return' })
  })

  test('hold for a worker that is on its way, and for the jobs that come before it is there', async () => {
    const on = new QueueOn()
    const queue = on.queue()
    const coming = new Later<void>()
    const settlements: Promise<Settlement>[] = []
    on.answers.consume = async (options, receiver) => {
      on.consumers.push(new HandConsumer(options, receiver))
      await coming.promise
      settlements.push(receiver.run(delivery()))
      return on.consumer
    }
    const processing = queue.process(() => expect.fail('it ran'))
    await turn()
    await queue.pause('node')
    coming.resolve()
    await processing
    await turn()
    expect(await Promise.all(settlements)).toEqual([{ type: 'return' }])
    expect(on.consumer.calls).toEqual(['pause'])
  })

  test('that the driver does not do are reported, and tried again', async () => {
    const { queue, consumer, on } = await working(() => {})
    consumer.answer = async () => {
      if (consumer.calls.length < 3) throw new Error('away')
    }
    await queue.pause('node')
    expect(on.reported).toMatchObject([{ message: expect.stringContaining('away') }])
    await on.clock.advance(500)
    expect([consumer.calls, on.reported.length]).toEqual([['pause', 'pause', 'pause'], 2])
    await on.clock.advance(10_000)
    expect([consumer.calls.length, on.clock.pendingTimers]).toEqual([3, 0])
  })

  test('that the driver did by half are undone when they are taken back', async () => {
    const { queue, consumer, on } = await working(() => {})
    consumer.answer = async (call) => {
      if (call === 'pause') throw new Error('half of it was done')
    }
    await queue.pause('node')
    await queue.resume('node')
    await on.clock.advance(1_000)
    expect(consumer.calls).toEqual(['pause', 'resume'])
  })

  test('that a close overtakes are not reported', async () => {
    const { worker, consumer, on } = await working(() => {})
    const pausing = new Later<void>()
    consumer.answer = (call) => (call === 'pause' ? pausing.promise : Promise.resolve())
    await worker.close()
    pausing.reject(new Error('closed meanwhile'))
    await turn()
    expect([consumer.calls, on.reported]).toEqual([['pause', 'close'], []])
  })

  test('settle in time when the driver never answers', async () => {
    const { queue, consumer, on } = await working(() => {})
    consumer.answer = never
    const paused = watch(queue.pause('node'))
    await on.clock.advance(5_500)
    expect(paused.state).toBe('resolved')
    expect(on.reported).toMatchObject([{ code: 'TIMEOUT' }])
  })
})

describe('close', () => {
  async function busy(handler: JobHandler = never): Promise<Working & { readonly settled: Outcome }> {
    const on = await working(handler)
    return { ...on, settled: watch(on.run()) }
  }

  test('of a worker without jobs is over at once; then none is taken', async () => {
    const { worker, consumer, run, on } = await working(() => {})
    await worker.close()
    expect(consumer.calls).toEqual(['pause', 'close'])
    expect(await run()).toEqual({ type: 'return' })
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('waits for what runs, and is over with it', async () => {
    const work = new Later<void>()
    const { worker, consumer, settled, on } = await busy(() => work.promise)
    const closed = watch(worker.close())
    await on.clock.advance(9_999)
    expect([closed.state, consumer.calls]).toEqual(['pending', ['pause']])
    work.resolve()
    await on.clock.advance(0)
    expect([closed.state, settled.value, consumer.calls]).toEqual([
      'resolved',
      { type: 'done' },
      ['pause', 'close'],
    ])
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('aborts after its grace what still runs, which then runs again and has used no attempt', async () => {
    const { worker, settled, on } = await busy(async ({ signal }) => {
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    })
    const closed = watch(worker.close({ graceMs: 100 }))
    await on.clock.advance(100)
    expect([closed.state, settled.value]).toEqual([
      'resolved',
      { type: 'retry', delayMs: 0, isAttempt: false },
    ])
  })

  test('is over half a second after its grace, whatever a handler does', async () => {
    const { worker, consumer, on } = await busy()
    const closed = watch(worker.close({ graceMs: 100 }))
    await on.clock.advance(599)
    expect(closed.state).toBe('pending')
    await on.clock.advance(1)
    expect([closed.state, consumer.calls]).toEqual(['resolved', ['pause', 'close']])
  })

  test('called again, the earlier end counts for all', async () => {
    const { worker, consumer, on } = await busy()
    const [long, short] = [watch(worker.close({ graceMs: 60_000 })), watch(worker.close({ graceMs: 0 }))]
    await on.clock.advance(500)
    expect([long.state, short.state, consumer.calls]).toEqual(['resolved', 'resolved', ['pause', 'close']])
    await worker.close()
    expect(consumer.calls).toEqual(['pause', 'close'])
    await on.clock.advance(5_000)
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('after a drain ends that one too', async () => {
    const work = new Later<void>()
    const { worker, on } = await busy(() => work.promise)
    const draining = watch(on.queues.drain(30_000))
    const closed = watch(worker.close())
    work.resolve()
    await on.clock.advance(0)
    expect([draining.value, closed.state, on.clock.pendingTimers]).toEqual([[], 'resolved', 0])
  })

  test.each([
    ['rejects', () => Promise.reject(new Error('away'))],
    ['never answers', never],
  ])('is over in time also when the driver %s, and reports it', async (_, answer) => {
    const { worker, consumer, on } = await working(() => {})
    consumer.answer = answer
    const closed = watch(worker.close())
    await on.clock.advance(5_500)
    expect(closed.state).toBe('resolved')
    expect(on.reported.length).toBeGreaterThan(0)
    await on.clock.advance(60_000)
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('is what a signal does, and the end of an `await using`', async () => {
    const abort = new AbortController()
    const { on, queue } = await working(() => {}, { signal: abort.signal })
    abort.abort()
    await turn()
    expect(on.consumer.calls).toEqual(['pause', 'close'])
    {
      await using worker = await queue.process(() => {})
      expect(worker.running).toBe(0)
    }
    expect(on.consumer.calls).toEqual(['pause', 'close'])
    expect(on.consumers).toHaveLength(2)
  })

  test.each([
    ['graceMs', { graceMs: -1 }],
    ['grace', { grace: 1 }],
  ])('refuses a wrong %s', async (name, options) => {
    const { worker } = await working(() => {})
    const error = await failureOf(() => callUntyped(worker, 'close', [options]))
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', details: { name } })
  })
})

describe('process', () => {
  test('tells the driver its settings; concurrency 0 is what the driver can', async () => {
    const { consumer } = await working(() => {}, { concurrency: 0, leaseMs: 2_000, maxCrashes: 3 })
    expect(consumer.options).toMatchObject({ concurrency: 100, prefetch: 100, leaseMs: 2_000, maxCrashes: 3 })
    const usual = await working(() => {})
    expect(usual.consumer.options).toMatchObject({
      concurrency: 1,
      prefetch: 1,
      leaseMs: 30_000,
      maxCrashes: 20,
    })
  })

  test.each([
    ['handler', ['no function']],
    ['concurrency', [() => {}, { concurrency: 101 }]],
    ['prefetch', [() => {}, { concurrency: 5, prefetch: 4 }]],
    ['leaseMs', [() => {}, { leaseMs: 999 }]],
    ['maxCrashes', [() => {}, { maxCrashes: -1 }]],
    ['handlerGraceMs', [() => {}, { handlerGraceMs: 0.5 }]],
    ['idle', [() => {}, { idle: true }]],
    ['signal', [() => {}, { signal: {} }]],
    ['concurency', [() => {}, { concurency: 1 }]],
  ])('refuses a wrong %s by name', async (name, args) => {
    const on = new QueueOn()
    const error = await failureOf(() => callUntyped(on.queue(), 'process', args))
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', details: { name } })
    expect(on.consumers).toEqual([])
  })

  test('with a signal that was aborted is ABORTED, and asks nobody', async () => {
    const on = new QueueOn()
    const error = await failureOf(() => on.queue().process(() => {}, { signal: AbortSignal.abort('why') }))
    expect(error).toMatchObject({ code: 'ABORTED', cause: 'why' })
    expect(on.opened).toBe(0)
  })

  const ends = [
    ['its signal', 'ABORTED', (_: QueueOn, abort: AbortController): void => abort.abort()],
    ['a close', 'CLOSED', (on: QueueOn): Promise<void> => on.queues.close()],
    ['a drain', 'CLOSED', (on: QueueOn): Promise<unknown> => on.queues.drain(0)],
  ] as const
  test.each(ends)('that %s ends while it begins is %s, and leaves nothing open', async (_, code, end) => {
    const on = new QueueOn()
    const coming = new Later<void>()
    on.answers.consume = async (options, receiver) => {
      await coming.promise
      on.consumers.push(new HandConsumer(options, receiver))
      return on.consumer
    }
    const abort = new AbortController()
    const processing = watch(on.queue().process(() => {}, { signal: abort.signal }))
    await turn()
    await end(on, abort)
    coming.resolve()
    await on.clock.advance(0)
    expect(processing.value).toMatchObject({ code })
    expect(on.consumer.calls.at(-1)).toBe('close')
    expect(await on.consumer.receiver.run(delivery())).toEqual({ type: 'return' })
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('is repeated through a short outage', async () => {
    const on = new QueueOn()
    on.answers.open = async () => {
      throw new MultinodeError('UNAVAILABLE', 'away')
    }
    const processing = watch(on.queue().process(() => {}))
    await on.clock.advance(1_000)
    expect([processing.state, on.opened > 3]).toEqual(['pending', true])
    delete on.answers.open
    // The pauses grow with the outage, up to a quarter of it.
    await on.clock.advance(250)
    expect(processing.state).toBe('resolved')
  })

  test('that the driver answers too late rejects, and the consumer that comes then is closed', async () => {
    const on = new QueueOn()
    const coming = new Later<void>()
    on.answers.consume = async (options, receiver) => {
      await coming.promise
      on.consumers.push(new HandConsumer(options, receiver))
      return on.consumer
    }
    const processing = watch(on.queue().process(() => {}))
    await on.clock.advance(5_500)
    expect(processing.value).toMatchObject({ code: 'TIMEOUT' })
    coming.resolve()
    await on.clock.advance(0)
    expect(on.consumer.calls).toEqual(['close'])
    expect(await on.consumer.receiver.run(delivery())).toEqual({ type: 'return' })
  })
})

describe('progress', () => {
  test('goes to the driver, with a deadline', async () => {
    const told: unknown[] = []
    const { run } = await working((job) => job.progress(0.5))
    const progress = async (value: unknown, timeoutMs: number): Promise<void> =>
      void told.push([value, timeoutMs])
    expect(await run({ ...delivery(), progress })).toEqual({ type: 'done' })
    expect(told).toEqual([[0.5, 5_000]])
  })

  test('is UNSUPPORTED where the backend cannot', async () => {
    const { run, seen } = await working((job) => job.progress(0.5))
    await run({ record: record(), attempt: 1, redelivered: false })
    expect(seen[1]).toMatchObject(['failed', { error: { code: 'UNSUPPORTED' } }])
  })
})

import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { ConsumeOptions, Delivery, JobReceiver, Settlement } from '../../src/index.ts'
import { MemoryLine } from '../../src/queue/memory-line.ts'
import { ManualClock, memoryQueue, pluginContext } from '../../src/testing/index.ts'
import { Later, never } from '../support/outcome.ts'
import { newJob } from './queue-on.ts'

const done: Settlement = { type: 'done' }
const second = 1_000
const year = 365 * 24 * 3_600 * second

/** Notes what it is given, and says what the test says becomes of it. */
class HandReceiver implements JobReceiver {
  readonly came: Delivery[] = []
  readonly ignored: string[] = []
  readonly #settle: (delivery: Delivery) => Settlement | Promise<Settlement>

  constructor(settle: (delivery: Delivery) => Settlement | Promise<Settlement> = () => done) {
    this.#settle = settle
  }

  get ids(): string[] {
    return this.came.map(({ record }) => record.id)
  }

  async run(delivery: Delivery): Promise<Settlement> {
    this.came.push(delivery)
    return this.#settle(delivery)
  }

  lost(): void {
    throw new Error('memory loses nothing')
  }

  settleIgnored(id: string): void {
    this.ignored.push(id)
  }

  stalled(): void {
    throw new Error('nothing stalls in memory')
  }
}

const options: ConsumeOptions = { concurrency: 1, prefetch: 1, leaseMs: 30_000, maxCrashes: 2 }
const failure = {
  reason: 'failed',
  name: 'Error',
  message: 'no',
  stack: '',
  nodeId: 'n1',
  attempts: 1,
  atMs: 0,
} as const

function made(): { readonly clock: ManualClock; readonly line: MemoryLine } {
  const clock = new ManualClock()
  return { clock, line: new MemoryLine(clock) }
}

function named(...ids: string[]): ReturnType<typeof newJob>[] {
  return ids.map((id) => newJob({ id }))
}

/** Runs all that can run now: one job a turn. */
async function settle(clock: ManualClock): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await clock.advance(0)
}

describe('jobs in memory', () => {
  test('run in the order in which they were added, once, at most so many at once', async () => {
    const { clock, line } = made()
    const works = new Map<string, Later<Settlement>>()
    const receiver = new HandReceiver(({ record: { id } }) => {
      const work = new Later<Settlement>()
      works.set(id, work)
      return work.promise
    })
    expect(await line.add(named('a', 'b', 'c'))).toEqual([
      { status: 'added', id: 'a' },
      { status: 'added', id: 'b' },
      { status: 'added', id: 'c' },
    ])
    await line.consume({ ...options, concurrency: 2 }, receiver)
    await settle(clock)
    expect(receiver.ids).toEqual(['a', 'b'])
    expect(await line.counts()).toMatchObject({ waiting: 1, active: 2, delayed: 0, dead: 0 })
    works.get('b')?.resolve(done)
    await settle(clock)
    expect(receiver.ids).toEqual(['a', 'b', 'c'])
    expect(receiver.came[0]).toMatchObject({ attempt: 1, redelivered: false })
  })

  test('are shared out among workers in turn', async () => {
    const { clock, line } = made()
    const receivers = [new HandReceiver(never), new HandReceiver(never), new HandReceiver(never)]
    for (const receiver of receivers) await line.consume({ ...options, concurrency: 5 }, receiver)
    await line.add(named('a', 'b', 'c', 'd'))
    await settle(clock)
    expect(receivers.map(({ ids }) => ids)).toEqual([['a', 'd'], ['b'], ['c']])
  })

  test('added twice by one id are one', async () => {
    const { line } = made()
    await line.add(named('a'))
    expect(await line.add(named('a'))).toEqual([{ status: 'added', id: 'a' }])
    expect(await line.counts()).toMatchObject({ waiting: 1 })
  })

  test('stay while the worker is paused, or all are', async () => {
    const { clock, line } = made()
    const receiver = new HandReceiver()
    const consumer = await line.consume(options, receiver)
    await consumer.pause()
    await line.add(named('a'))
    await settle(clock)
    await line.pauseAll(true)
    await consumer.resume()
    await settle(clock)
    expect(receiver.ids).toEqual([])
    await line.pauseAll(false)
    await settle(clock)
    expect(receiver.ids).toEqual(['a'])
  })

  test('are counted in every state; the age is that of the next one', async () => {
    const { clock, line } = made()
    expect(await line.counts()).toEqual({ waiting: 0, active: 0, delayed: 0, dead: 0, oldestWaitingMs: 0 })
    await line.add([...named('a'), newJob({ id: 'b' }, { delayMs: 500 })])
    await clock.advance(300)
    expect(await line.counts()).toEqual({ waiting: 1, active: 0, delayed: 1, dead: 0, oldestWaitingMs: 300 })
    const settlements: Settlement[] = [{ type: 'dead', failure }]
    await line.consume(options, new HandReceiver(() => settlements.shift() ?? never()))
    await settle(clock)
    await clock.advance(200)
    await settle(clock)
    expect(await line.counts()).toEqual({ waiting: 0, active: 1, delayed: 0, dead: 1, oldestWaitingMs: 0 })
  })
})

describe('what a worker says becomes of a job', () => {
  test('retry: again with the next attempt, or the same one, when it is due and not before', async () => {
    const { clock, line } = made()
    const settlements: Settlement[] = [
      { type: 'retry', delayMs: 100, isAttempt: true },
      { type: 'retry', delayMs: 0, isAttempt: false },
      { type: 'return' },
      done,
    ]
    const receiver = new HandReceiver(() => settlements.shift() ?? done)
    await line.consume(options, receiver)
    await line.add(named('a'))
    await settle(clock)
    await clock.advance(99)
    expect(receiver.came).toHaveLength(1)
    await clock.advance(1)
    await settle(clock)
    expect(receiver.came.map(({ attempt, redelivered }) => [attempt, redelivered])).toEqual([
      [1, false],
      [2, true],
      [2, true],
      [2, true],
    ])
    expect(await line.get('a')).toBeUndefined()
  })

  test('is ignored after its close: the job has gone back as after a crash', async () => {
    const { clock, line } = made()
    const work = new Later<Settlement>()
    const first = new HandReceiver(() => work.promise)
    const consumer = await line.consume(options, first)
    await line.add(named('a'))
    await settle(clock)
    await consumer.close()
    await consumer.close()
    const next = new HandReceiver()
    await line.consume(options, next)
    work.resolve({ type: 'dead', failure })
    await settle(clock)
    expect([first.ignored, next.ids, await line.counts()]).toMatchObject([
      ['a'],
      ['a'],
      { active: 0, dead: 0 },
    ])
  })

  test('and after too many crashes it is a dead letter', async () => {
    const { clock, line } = made()
    await line.add(named('a'))
    for (let crash = 1; crash <= 3; crash += 1) {
      expect(await line.counts()).toMatchObject({ waiting: 1, dead: 0 })
      const consumer = await line.consume(options, new HandReceiver(never))
      await settle(clock)
      await consumer.close()
    }
    expect(await line.listDead(10)).toMatchObject([
      { record: { id: 'a' }, failure: { reason: 'crashed', message: expect.stringContaining('3 times') } },
    ])
  })
})

describe('delayed jobs', () => {
  test('come when they are due, in that order, and not before', async () => {
    const { clock, line } = made()
    const receiver = new HandReceiver()
    await line.consume(options, receiver)
    await line.add([
      newJob({ id: 'late' }, { delayMs: 300 }),
      newJob({ id: 'soon' }, { delayMs: 100 }),
      newJob({ id: 'also late' }, { delayMs: 300 }),
    ])
    await clock.advance(99)
    await settle(clock)
    expect(receiver.ids).toEqual([])
    await clock.advance(1)
    await settle(clock)
    expect(receiver.ids).toEqual(['soon'])
    await clock.advance(200)
    await settle(clock)
    expect(receiver.ids).toEqual(['soon', 'late', 'also late'])
    expect(clock.pendingTimers).toBe(0)
  })

  test('may be due after more than a timer can count', async () => {
    const delays: number[] = []
    const clock = new ManualClock()
    const line = new MemoryLine({
      monotonicMs: () => clock.monotonicMs(),
      wallMs: () => clock.wallMs(),
      setTimer(callback, delayMs) {
        delays.push(delayMs)
        return clock.setTimer(callback, delayMs)
      },
    })
    await line.add([newJob({ id: 'a' }, { delayMs: 2 * year })])
    clock.freeze(2 * year - 2_000)
    await clock.advance(1_999)
    expect(await line.counts()).toMatchObject({ delayed: 1, waiting: 0 })
    await clock.advance(1)
    expect(await line.counts()).toMatchObject({ delayed: 0, waiting: 1 })
    expect(Math.max(...delays)).toBeLessThan(2 ** 31)
  })

  test('that were taken back leave nothing behind, however far away', async () => {
    const { line } = made()
    for (let each = 0; each < 20_000; each += 1) {
      const id = String(each)
      await line.add([newJob({ id }, each % 2 === 0 ? { delayMs: year } : {})])
      await line.remove(id)
    }
    expect(line.entries).toBeLessThan(3_000)
    await line.add([newJob({ id: 'stays' }, { delayMs: 5 })])
    expect(await line.counts()).toMatchObject({ delayed: 1, waiting: 0 })
  })
})

describe('dedupe', () => {
  const by = (id: string, ttlMs?: number): ReturnType<typeof newJob> =>
    newJob({ id }, { dedupe: { key: 'k', ttlMs } })

  test('without a time holds until the job is done', async () => {
    const { clock, line } = made()
    await line.add([by('a')])
    expect(await line.add([by('b'), newJob({ id: 'c' })])).toEqual([
      { status: 'duplicate', id: 'a' },
      { status: 'added', id: 'c' },
    ])
    await line.consume(options, new HandReceiver())
    await settle(clock)
    expect(await line.add([by('d')])).toEqual([{ status: 'added', id: 'd' }])
  })

  test.each(['dead', 'removed', 'purged'])('without a time ends with a job that is %s', async (how) => {
    const { clock, line } = made()
    await line.add([by('a')])
    if (how === 'dead') {
      await line.consume(options, new HandReceiver(() => ({ type: 'dead', failure })))
      await settle(clock)
    } else if (how === 'removed') await line.remove('a')
    else await line.purge()
    expect(await line.add([by('b')])).toEqual([{ status: 'added', id: 'b' }])
  })

  test('with a time holds for so long, also when the job is done', async () => {
    const { clock, line } = made()
    await line.consume(options, new HandReceiver())
    await line.add([by('a', 1_000)])
    await settle(clock)
    await clock.advance(999)
    expect(await line.add([by('b', 1_000)])).toEqual([{ status: 'duplicate', id: 'a' }])
    await clock.advance(1)
    expect(await line.add([by('c', 1_000)])).toEqual([{ status: 'added', id: 'c' }])
    await clock.advance(999)
    expect(await line.add([by('d', 1_000)])).toEqual([{ status: 'duplicate', id: 'c' }])
  })

  test('leaves nothing behind of keys whose time is over', async () => {
    const { clock, line } = made()
    for (let each = 0; each < 5_000; each += 1) {
      const id = String(each)
      await line.add([newJob({ id }, { dedupe: { key: id, ttlMs: 10 } })])
      await line.remove(id)
      clock.freeze(1)
    }
    expect(line.entries).toBeLessThan(3_000)
  })
})

describe('dead letters', () => {
  async function withDead(...ids: string[]): Promise<ReturnType<typeof made>> {
    const { clock, line } = made()
    await line.add(named(...ids))
    const consumer = await line.consume(options, new HandReceiver(() => ({ type: 'dead', failure })))
    await settle(clock)
    await consumer.close()
    return { clock, line }
  }

  test('are listed, the oldest first, and purged', async () => {
    const { line } = await withDead('a', 'b', 'c')
    expect((await line.listDead(2)).map(({ record }) => record.id)).toEqual(['a', 'b'])
    expect(await line.purge()).toBe(0)
    expect(await line.purgeDead()).toBe(3)
    expect([await line.listDead(2), await line.get('a')]).toEqual([[], undefined])
  })

  test('wait again with all their attempts, and run without anything else having to happen', async () => {
    const { clock, line } = await withDead('a', 'b', 'c')
    const receiver = new HandReceiver()
    await line.consume(options, receiver)
    await settle(clock)
    expect(await line.redrive({ ids: ['b', 'b', 'unknown'], limit: 10 })).toBe(1)
    await settle(clock)
    expect(receiver.came).toMatchObject([{ record: { id: 'b' }, attempt: 1, redelivered: true }])
    expect(await line.redrive({ limit: 1 })).toBe(1)
    await settle(clock)
    expect(receiver.ids).toEqual(['b', 'a'])
    expect(await line.counts()).toMatchObject({ waiting: 0, active: 0, dead: 1 })
  })

  test('are not taken for jobs that can be taken back', async () => {
    const { line } = await withDead('a')
    expect(await line.get('a')).toMatchObject({ state: 'dead', attempt: 1 })
    expect(await line.remove('a')).toBe('not-found')
  })
})

describe('looking up, removing and purging', () => {
  test('say where a job is, and how far', async () => {
    const { clock, line } = made()
    await line.add([...named('a', 'b'), newJob({ id: 'c' }, { delayMs: 10 })])
    const receiver = new HandReceiver(never)
    await line.consume(options, receiver)
    await settle(clock)
    await receiver.came[0]?.progress?.(0.5, second)
    expect(await line.get('a')).toMatchObject({ state: 'active', progress: 0.5, record: { id: 'a' } })
    expect(await Promise.all(['b', 'c', 'd'].map((id) => line.get(id)))).toMatchObject([
      { state: 'waiting', progress: undefined },
      { state: 'delayed' },
      undefined,
    ])
    expect(await line.remove('a')).toBe('running')
    expect(await line.remove('b')).toBe('removed')
    expect(await line.remove('b')).toBe('not-found')
    expect(await line.purge()).toBe(1)
    expect(await line.counts()).toMatchObject({ waiting: 0, active: 1, delayed: 0 })
  })
})

describe('the memory driver', () => {
  test('shares queues among cluster objects of one name, and ends them with the last one', async () => {
    const clock = new ManualClock()
    const clusterName = randomBytes(8).toString('hex')
    const [one, two] = [
      await memoryQueue.create(pluginContext({ clusterName, clock })),
      await memoryQueue.create(pluginContext({ clusterName, clock })),
    ]
    const line = await one.open({ name: 'a', hasPriorities: false }, second)
    expect(await two.open({ name: 'a', hasPriorities: false }, second)).toBe(line)
    expect(await two.open({ name: 'b', hasPriorities: false }, second)).not.toBe(line)
    await line.add([newJob({}, { delayMs: 1_000 })], second)
    await one.close()
    await one.close()
    expect(clock.pendingTimers).toBe(1)
    await two.close()
    expect(clock.pendingTimers).toBe(0)
    const later = await memoryQueue.create(pluginContext({ clusterName, clock }))
    const fresh = await later.open({ name: 'a', hasPriorities: false }, second)
    expect(await fresh.counts(second)).toMatchObject({ delayed: 0 })
    await later.close()
  })
})

import { describe, expect, test } from 'vitest'
import type { Gap } from '../../src/index.ts'
import { Later } from '../support/outcome.ts'
import { PubSubOn } from './pubsub-on.ts'

const epoch: Gap = { reason: 'epoch', missed: undefined }

describe('a gap', () => {
  test('comes after what was received before it, and before what comes later', async () => {
    const on = new PubSubOn()
    const { seen } = await on.follow('a')
    await on.receive('a', 1)
    on.receiver.gap({ reason: 'trimmed', missed: 7 })
    await on.receive('a', 2)
    await on.clock.advance(0)
    expect(seen).toEqual([1, { reason: 'trimmed', missed: 7 }, 2])
  })

  test('is told to all subscriptions, whatever their pattern', async () => {
    const on = new PubSubOn()
    const [one, two] = [await on.follow('a'), await on.follow('b')]
    on.receiver.gap(epoch)
    await on.clock.advance(0)
    expect([one.seen, two.seen]).toEqual([[epoch], [epoch]])
    expect(on.pubsub.stats().gaps).toBe(2)
  })

  test('pauses delivery until onGap has resolved', async () => {
    const on = new PubSubOn()
    const refetched = new Later<void>()
    const { seen } = await on.follow('a', { onGap: () => refetched.promise })
    on.receiver.gap(epoch)
    await on.receive('a', 1)
    await on.clock.advance(29_000)
    expect(seen).toEqual([])
    refetched.resolve()
    await on.clock.advance(0)
    expect(seen).toEqual([1])
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('is told again after 1 s and ever later while onGap rejects, is reported each time, and delivery waits', async () => {
    const on = new PubSubOn()
    const times: number[] = []
    let isBroken = true
    const onGap = (): void => {
      times.push(on.clock.monotonicMs())
      if (isBroken) throw new Error('the database is away')
    }
    const { seen } = await on.follow('a', { onGap })
    on.receiver.gap(epoch)
    await on.receive('a', 1)
    await on.clock.advance(100_000)
    expect(times.map((atMs, index) => atMs - (times[index - 1] ?? 0))).toEqual([
      0, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000,
    ])
    expect(on.reported).toHaveLength(times.length)
    expect(on.reported[0]).toMatchObject({
      code: 'REJECTED',
      capability: 'pubsub',
      details: { pattern: 'a' },
      message: expect.stringMatching(/onGap of a failed.*again in 1000 ms.*the database is away/),
    })
    expect(seen).toEqual([])
    isBroken = false
    await on.clock.advance(30_000)
    expect(seen).toEqual([1])
    expect(on.pubsub.stats().gaps).toBe(1)
  })

  test('is told again when onGap was not done within gapTimeoutMs', async () => {
    const on = new PubSubOn()
    const answers = [new Later<void>(), new Later<void>()]
    let calls = 0
    const onGap = (): Promise<void> | undefined => answers[calls++]?.promise
    const { seen } = await on.follow('a', { onGap: async () => onGap(), gapTimeoutMs: 500 })
    on.receiver.gap(epoch)
    await on.receive('a', 1)
    await on.clock.advance(500)
    expect(on.reported).toMatchObject([
      { message: expect.stringContaining('not done within 500 ms (gapTimeoutMs)') },
    ])
    // The first call counts no more: what it refetched may be older than what was missed since.
    answers[0]?.resolve()
    await on.clock.advance(999)
    expect({ calls, seen }).toEqual({ calls: 1, seen: [] })
    await on.clock.advance(1)
    answers[1]?.resolve()
    await on.clock.advance(0)
    expect({ calls, seen }).toEqual({ calls: 2, seen: [1] })
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('with onGap ignore is counted, and nothing else', async () => {
    const on = new PubSubOn()
    const { seen } = await on.follow('a', { onGap: 'ignore' })
    on.receiver.gap(epoch)
    await on.receive('a', 1)
    await on.clock.advance(0)
    expect(seen).toEqual([1])
    expect(on.pubsub.stats().gaps).toBe(1)
    expect(on.reported).toEqual([])
  })

  test('and the next one are one when nothing was received in between, with the sum of what is known', async () => {
    const on = new PubSubOn()
    const { seen } = await on.follow('a')
    on.receiver.gap({ reason: 'trimmed', missed: 3 })
    on.receiver.gap({ reason: 'rewind', missed: 4 })
    await on.receive('a', 1)
    on.receiver.gap({ reason: 'trimmed', missed: 3 })
    on.receiver.gap(epoch)
    await on.clock.advance(0)
    expect(seen).toEqual([{ reason: 'trimmed', missed: 7 }, 1, { reason: 'trimmed', missed: undefined }])
  })

  test('that comes while onGap runs is told on its own, after that', async () => {
    const on = new PubSubOn()
    const refetched = new Later<void>()
    const gaps: Gap[] = []
    const onGap = async (gap: Gap): Promise<void> => {
      gaps.push(gap)
      await refetched.promise
    }
    await on.follow('a', { onGap })
    on.receiver.gap({ reason: 'trimmed', missed: 3 })
    await on.clock.advance(0)
    on.receiver.gap(epoch)
    await on.clock.advance(0)
    expect(gaps).toHaveLength(1)
    refetched.resolve()
    await on.clock.advance(0)
    expect(gaps).toEqual([{ reason: 'trimmed', missed: 3 }, epoch])
  })

  test('takes no room from signals: a gap in a full queue stays', async () => {
    const on = new PubSubOn()
    const refetched = new Later<void>()
    const { seen } = await on.follow('a', { onGap: () => refetched.promise, maxQueue: 2 })
    on.receiver.gap(epoch)
    await on.clock.advance(0)
    await on.receive('a', 1)
    on.receiver.gap(epoch)
    await on.receive('a', 2)
    refetched.resolve()
    await on.clock.advance(0)
    expect(seen.at(-1)).toBe(2)
    expect(on.pubsub.stats().gaps).toBe(2)
  })

  test('ends with the subscription, also while it is told again and again', async () => {
    const on = new PubSubOn()
    const { subscription } = await on.follow('a', { onGap: () => Promise.reject(new Error('away')) })
    on.receiver.gap(epoch)
    await on.clock.advance(500)
    await subscription.close()
    expect(on.clock.pendingTimers).toBe(0)
    const { length } = on.reported
    await on.clock.advance(60_000)
    expect(on.reported).toHaveLength(length)
  })
})

test('onGap that rejects only after the subscription was closed is not waited for', async () => {
  const on = new PubSubOn()
  const refetched = new Later<void>()
  const { subscription } = await on.follow('a', { onGap: () => refetched.promise })
  on.receiver.gap(epoch)
  await on.clock.advance(0)
  const closed = subscription.close()
  refetched.reject(new Error('too late'))
  await closed
  expect(on.clock.pendingTimers).toBe(0)
})

describe('a handler that rejects', () => {
  test('is reported, and the subscription is told before the next signal that one was not handled', async () => {
    const on = new PubSubOn()
    const events: unknown[] = []
    const cause = new Error('the database is away')
    const handler = ({ payload }: { readonly payload: unknown }): void => {
      events.push(payload)
      if (payload === 'bad') throw cause
    }
    await on.pubsub.subscribe('a', handler, { onGap: (gap) => void events.push(gap) })
    for (const payload of [1, 'bad', 2]) await on.receive('a', payload)
    await on.clock.advance(0)
    expect(events).toEqual([1, 'bad', { reason: 'handler-failed', missed: 1 }, 2])
    expect(on.reported).toMatchObject([
      {
        code: 'REJECTED',
        cause,
        details: { pattern: 'a' },
        message: 'The handler of a rejected a signal of a: the database is away',
      },
    ])
    expect(on.pubsub.stats()).toMatchObject({ handled: 2, failed: 1, gaps: 1 })
  })

  test('may throw anything', async () => {
    const on = new PubSubOn()
    await on.pubsub.subscribe('a', () => Promise.reject(Object.create(null)), { onGap: 'ignore' })
    await on.receive('a', 1)
    await on.clock.advance(0)
    expect(on.reported).toMatchObject([{ code: 'REJECTED' }])
  })
})

describe('a signal that cannot be read', () => {
  test('is reported, and is a gap for those who wanted it', async () => {
    const on = new PubSubOn()
    const [wanting, other] = [await on.follow('a'), await on.follow('b')]
    const later = { ...on.signal('a', 1), data: Buffer.from('\u0002{}\n') }
    await on.receiver.receive([later, on.signal('a', 2)])
    await on.receiver.receive([{ ...on.signal('a', 3), data: Buffer.from('\u0001{}\n{') }])
    await on.clock.advance(0)
    expect(wanting.seen).toEqual([
      { reason: 'handler-failed', missed: 1 },
      2,
      { reason: 'handler-failed', missed: 1 },
    ])
    expect(other.seen).toEqual([])
    expect(on.reported).toMatchObject([{ code: 'REJECTED' }, { name: 'MultinodeError' }])
  })
})

describe('what a publisher dropped while the backend was away', () => {
  test('is a gap for all subscriptions, with how many, and no signal', async () => {
    const on = new PubSubOn()
    const [one, two] = [await on.follow('a'), await on.follow('b')]
    await on.receive('c', undefined, { lost: 12 })
    await on.receive('a', 1)
    await on.clock.advance(0)
    const gap = { reason: 'publisher-loss', missed: 12 }
    expect([one.seen, two.seen]).toEqual([[gap, 1], [gap]])
  })
})

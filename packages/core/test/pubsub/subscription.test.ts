import { describe, expect, test } from 'vitest'
import { MultinodeError, type Signal, type SubscribeOptions } from '../../src/index.ts'
import { callUntyped } from '../support/call-untyped.ts'
import { failureOf, Later, never, watch } from '../support/outcome.ts'
import { PubSubOn } from './pubsub-on.ts'

/** A subscription whose handler runs until the test lets each signal go, in order. */
async function slow(
  on: PubSubOn,
  options: Partial<SubscribeOptions> = {},
): Promise<{ readonly started: unknown[]; readonly next: () => Promise<void> }> {
  const started: unknown[] = []
  const running: Later<void>[] = []
  const handler = ({ payload }: Signal): Promise<void> => {
    started.push(payload)
    const later = new Later<void>()
    running.push(later)
    return later.promise
  }
  const onGap = (gap: unknown): void => {
    started.push(gap)
  }
  await on.pubsub.subscribe('#', handler, { onGap, ...options })
  return {
    started,
    async next() {
      running.shift()?.resolve()
      await on.clock.advance(0)
    },
  }
}

/** Lets time pass until it has resolved. */
async function advancing<T>(on: PubSubOn, work: Promise<T>): Promise<T> {
  await on.clock.advance(1_000)
  return work
}

describe('subscribe', () => {
  const handler = (): void => {}
  const onGap = 'ignore'
  const bad: readonly (readonly [string, readonly unknown[], string, string])[] = [
    ['a bad pattern', ['a..b', handler, { onGap }], 'pattern', 'pattern is "a..b"'],
    ['no handler', ['a', undefined, { onGap }], 'handler', 'handler is undefined; it must be a function'],
    ['a handler that is none', ['a', 'log', { onGap }], 'handler', 'handler is "log"'],
    ['no options', ['a', handler], 'the options of subscribe', 'the options of subscribe is undefined'],
    [
      'null for options',
      ['a', handler, null],
      'the options of subscribe',
      'the options of subscribe is null',
    ],
    [
      'no onGap',
      ['a', handler, {}],
      'onGap',
      "onGap is missing: pass a function that refetches what the signals are about, or 'ignore'",
    ],
    [
      'an onGap that is none',
      ['a', handler, { onGap: 'skip' }],
      'onGap',
      'onGap is "skip"; it must be a function',
    ],
    ['onGap null', ['a', handler, { onGap: null }], 'onGap', 'onGap is null'],
    [
      'a misspelt option',
      ['a', handler, { onGap, overflw: 'gap' }],
      'overflw',
      'subscribe has no option "overflw"; it knows onGap,',
    ],
    [
      'another self',
      ['a', handler, { onGap, self: 'both' }],
      'self',
      'self is "both"; it must be one of skip, include, only.',
    ],
    ['self false', ['a', handler, { onGap, self: false }], 'self', 'self is false'],
    [
      'another overflow',
      ['a', handler, { onGap, overflow: 'drop' }],
      'overflow',
      'overflow is "drop"; it must be one of gap, coalesce, block.',
    ],
    ['coalesceMs -1', ['a', handler, { onGap, coalesceMs: -1 }], 'coalesceMs', 'coalesceMs is -1'],
    [
      'coalesceMs over an hour',
      ['a', handler, { onGap, coalesceMs: 3_600_001 }],
      'coalesceMs',
      'coalesceMs is 3600001',
    ],
    ['coalesceMs as text', ['a', handler, { onGap, coalesceMs: '5' }], 'coalesceMs', 'coalesceMs is "5"'],
    ['maxQueue 0', ['a', handler, { onGap, maxQueue: 0 }], 'maxQueue', 'maxQueue is 0'],
    ['maxQueue 1.5', ['a', handler, { onGap, maxQueue: 1.5 }], 'maxQueue', 'maxQueue is 1.5'],
    [
      'maxQueue over a million',
      ['a', handler, { onGap, maxQueue: 1_000_001 }],
      'maxQueue',
      'maxQueue is 1000001',
    ],
    ['gapTimeoutMs 0', ['a', handler, { onGap, gapTimeoutMs: 0 }], 'gapTimeoutMs', 'gapTimeoutMs is 0'],
    [
      'gapTimeoutMs Infinity',
      ['a', handler, { onGap, gapTimeoutMs: Infinity }],
      'gapTimeoutMs',
      'gapTimeoutMs is Infinity',
    ],
    ['a signal that is none', ['a', handler, { onGap, signal: {} }], 'signal', 'signal is of type Object'],
  ]

  test.each(bad)('refuses %s by name and value', async (_, args, name, message) => {
    const on = new PubSubOn()
    const error = await failureOf(() => callUntyped(on.pubsub, 'subscribe', args))
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', retryable: false, details: { name } })
    expect(error).toHaveProperty('message', expect.stringContaining(message))
    expect(on.pubsub.stats().subscriptions).toBe(0)
  })

  test('takes the smallest and the largest values', async () => {
    const on = new PubSubOn()
    const options = { onGap } as const
    await on.pubsub.subscribe('a', handler, { ...options, coalesceMs: 0, maxQueue: 1, gapTimeoutMs: 1 })
    await on.pubsub.subscribe('a', handler, {
      ...options,
      coalesceMs: 3_600_000,
      maxQueue: 1_000_000,
      gapTimeoutMs: 2_147_483_647,
    })
    expect(on.pubsub.stats().subscriptions).toBe(2)
  })

  test('waits until the node is a member', async () => {
    const joined = new Later<void>()
    const on = new PubSubOn({ join: () => joined.promise })
    const subscribed = watch(on.follow('a'))
    await on.clock.advance(4_000)
    expect(subscribed.state).toBe('pending')
    joined.resolve()
    await on.clock.advance(0)
    expect(subscribed.state).toBe('resolved')
  })

  test('rejects with UNAVAILABLE after callTimeoutMs, and works once the backend is back', async () => {
    const gone = new MultinodeError('UNAVAILABLE', 'gone', { capability: 'pubsub' })
    const on = new PubSubOn({ join: () => Promise.reject(gone) }, { callTimeoutMs: 3_000 })
    const subscribed = watch(on.follow('a'))
    await on.clock.advance(2_999)
    expect(subscribed.state).toBe('pending')
    await on.clock.advance(1)
    expect(subscribed).toMatchObject({
      state: 'rejected',
      value: { code: 'UNAVAILABLE', retryable: true, cause: gone },
    })
    expect(on.joins).toBeGreaterThanOrEqual(3)
    delete on.answers.join
    const { seen } = await advancing(on, on.follow('a'))
    await on.receive('a', 1)
    await on.clock.advance(0)
    expect(seen).toEqual([1])
  })

  test('rejects at once when the backend refuses this node for good, and it does not try again', async () => {
    const refused = new MultinodeError('MISCONFIGURED', 'not you', { capability: 'pubsub' })
    const on = new PubSubOn({ join: () => Promise.reject(refused) })
    expect(await failureOf(() => on.follow('a'))).toBe(refused)
    await on.clock.advance(60_000)
    expect(on.joins).toBe(1)
  })

  test('is ended before it began by a signal that is aborted already', async () => {
    const on = new PubSubOn()
    const reason = new Error('no more')
    expect(await failureOf(() => on.follow('a', { signal: AbortSignal.abort(reason) }))).toBe(reason)
    expect(on.pubsub.stats().subscriptions).toBe(0)
  })
})

describe('a subscription', () => {
  test('has the signals that its pattern covers, each with who published it', async () => {
    const on = new PubSubOn()
    const seen: Signal[] = []
    await on.pubsub.subscribe('orders.*', (signal) => void seen.push(signal), { onGap: 'ignore' })
    await on.receive('orders.changed', { id: 1 }, { nodeId: 'n2', source: 'i2', key: 'k' })
    await on.receive('stock.changed', { id: 2 })
    await on.clock.advance(0)
    expect(seen).toEqual([
      { topic: 'orders.changed', payload: { id: 1 }, key: 'k', from: { nodeId: 'n2', incarnation: 'i2' } },
    ])
  })

  test('has them from when it began on, also of a topic that came before', async () => {
    const on = new PubSubOn()
    await on.clock.advance(0)
    await on.receive('a', 1)
    const { seen } = await on.follow('a')
    await on.receive('a', 2)
    await on.clock.advance(0)
    expect(seen).toEqual([2])
  })

  test('has each of them once, though two patterns of a node cover it', async () => {
    const on = new PubSubOn()
    const [one, two] = [await on.follow('a.*'), await on.follow('#')]
    await on.receive('a.b', 1)
    await on.clock.advance(0)
    expect([one.seen, two.seen]).toEqual([[1], [1]])
  })

  test('has one at a time, in order', async () => {
    const on = new PubSubOn()
    const { started, next } = await slow(on)
    for (const payload of [1, 2, 3]) await on.receive('a', payload)
    await on.clock.advance(0)
    expect(started).toEqual([1])
    expect(on.pubsub.stats()).toMatchObject({ received: 3, handled: 0, waiting: 2 })
    await next()
    expect(started).toEqual([1, 2])
    await next()
    await next()
    expect(started).toEqual([1, 2, 3])
    expect(on.pubsub.stats()).toMatchObject({ handled: 3, waiting: 0 })
  })

  test('does not wait for another one', async () => {
    const on = new PubSubOn()
    const { started } = await slow(on)
    const { seen } = await on.follow('#')
    for (const payload of [1, 2, 3]) await on.receive('a', payload)
    await on.clock.advance(0)
    expect([started, seen]).toEqual([[1], [1, 2, 3]])
  })

  test('leaves out what comes twice', async () => {
    const on = new PubSubOn()
    const { seen } = await on.follow('a')
    const [one, two] = [on.signal('a', 1), on.signal('a', 2)]
    await on.receiver.receive([one, two])
    await on.receiver.receive([one, two, on.signal('a', 3)])
    await on.receive('a', 'of another one', { nodeId: 'n3', sequence: 1 })
    await on.clock.advance(0)
    expect(seen).toEqual([1, 2, 3, 'of another one'])
    expect(on.pubsub.stats()).toMatchObject({ received: 6, duplicates: 2, handled: 4 })
  })

  test.each([
    ['skip', ['other']],
    ['include', ['own', 'other', 'namesake']],
    ['only', ['own']],
  ] as const)('with self %s has %j', async (self, wanted) => {
    const on = new PubSubOn()
    const { seen } = await on.follow('a', { self })
    const { nodeId, incarnation } = on.context.node
    await on.receive('a', 'own', { nodeId, source: incarnation })
    await on.receive('a', 'other')
    // Two processes may have one name: the incarnation tells them apart.
    await on.receive('a', 'namesake', { nodeId, source: 'another' })
    await on.clock.advance(0)
    expect(seen).toEqual(self === 'skip' ? [...wanted, 'namesake'] : wanted)
  })

  test('has what is for all and what is for its node, and nothing for others only', async () => {
    const on = new PubSubOn()
    const { seen } = await on.follow('a')
    await on.receive('a', 'all')
    await on.receive('a', 'me', { to: ['n9', on.nodeId] })
    await on.receive('a', 'others', { to: ['n9'] })
    await on.receive('a', 'nobody', { to: [] })
    await on.clock.advance(0)
    expect(seen).toEqual(['all', 'me'])
  })

  test('of a handler that ends at once does not block the event loop of the driver', async () => {
    const on = new PubSubOn()
    const { seen } = await on.follow('a')
    const receiving = on.receive('a', 1)
    expect(seen).toEqual([])
    await receiving
    await on.clock.advance(0)
    expect(seen).toEqual([1])
  })
})

describe('a subscription that is closed', () => {
  test('has nothing any more, not even what waits', async () => {
    const on = new PubSubOn()
    const { seen, subscription } = await on.follow('a')
    await on.receive('a', 1)
    await on.clock.advance(0)
    await on.receive('a', 2)
    await subscription.close()
    await on.receive('a', 3)
    on.receiver.gap({ reason: 'epoch', missed: undefined })
    await on.clock.advance(0)
    expect(seen).toEqual([1])
    expect(on.pubsub.stats()).toMatchObject({ subscriptions: 0, waiting: 0, gaps: 0 })
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('while a handler runs is closed when that is done', async () => {
    const on = new PubSubOn()
    const later = new Later<void>()
    const subscription = await on.pubsub.subscribe('a', () => later.promise, { onGap: 'ignore' })
    await on.receive('a', 1)
    await on.receive('a', 2)
    await on.clock.advance(0)
    const closed = watch(subscription.close())
    await on.clock.advance(1_000)
    expect(closed.state).toBe('pending')
    later.resolve()
    await on.clock.advance(0)
    expect(closed.state).toBe('resolved')
    expect(on.pubsub.stats()).toMatchObject({ handled: 1 })
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('while a handler hangs is closed after callTimeoutMs', async () => {
    const on = new PubSubOn({}, { callTimeoutMs: 1_000 })
    const subscription = await on.pubsub.subscribe('a', never, { onGap: 'ignore' })
    await on.receive('a', 1)
    await on.clock.advance(0)
    const closed = watch(subscription.close())
    await on.clock.advance(999)
    expect(closed.state).toBe('pending')
    await on.clock.advance(1)
    expect(closed.state).toBe('resolved')
  })

  test('while a handler runs that then rejects reports that, and tells no gap', async () => {
    const on = new PubSubOn()
    const later = new Later<void>()
    const gaps: unknown[] = []
    const onGap = (gap: unknown): void => void gaps.push(gap)
    const subscription = await on.pubsub.subscribe('a', () => later.promise, { onGap })
    await on.receive('a', 1)
    await on.clock.advance(0)
    const closed = subscription.close()
    later.reject(new Error('too late'))
    await closed
    expect(on.reported).toHaveLength(1)
    expect(gaps).toEqual([])
  })

  test('may be closed twice, and by await using', async () => {
    const on = new PubSubOn()
    {
      await using subscription = (await on.follow('a')).subscription
      await subscription.close()
    }
    expect(on.pubsub.stats().subscriptions).toBe(0)
  })

  test('by its signal; and does not listen to that any more when it was closed otherwise', async () => {
    const on = new PubSubOn()
    const controller = new AbortController()
    const listeners: string[] = []
    const { signal } = controller
    const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)]
    Object.assign(signal, {
      addEventListener: (...args: Parameters<typeof add>) => (listeners.push('on'), add(...args)),
      removeEventListener: (...args: Parameters<typeof remove>) => (listeners.push('off'), remove(...args)),
    })
    const { subscription } = await on.follow('a', { signal })
    await subscription.close()
    expect(listeners).toEqual(['on', 'off'])
    await on.follow('a', { signal })
    expect(on.pubsub.stats().subscriptions).toBe(1)
    controller.abort()
    expect(on.pubsub.stats().subscriptions).toBe(0)
  })
})

describe('a subscription that is too slow', () => {
  test('with overflow gap loses what waits, and is told of exactly how many before the next', async () => {
    const on = new PubSubOn()
    const { started, next } = await slow(on, { maxQueue: 3 })
    for (const payload of [1, 2, 3, 4]) await on.receive('a', payload)
    expect(on.pubsub.stats().waiting).toBe(3)
    for (const payload of [5, 6]) await on.receive('a', payload)
    for (let rest = 0; rest < 5; rest += 1) await next()
    expect(started).toEqual([1, { reason: 'overflow', missed: 3 }, 5, 6])
    expect(on.pubsub.stats()).toMatchObject({ handled: 3, gaps: 1 })
  })

  test('with overflow gap is told once of several overflows, with the sum', async () => {
    const on = new PubSubOn()
    const { started, next } = await slow(on, { maxQueue: 3 })
    for (let payload = 1; payload <= 100; payload += 1) await on.receive('a', payload)
    for (let rest = 0; rest < 10; rest += 1) await next()
    const handled = started.filter((each) => typeof each === 'number')
    expect(started[1]).toEqual({ reason: 'overflow', missed: 100 - handled.length })
    expect(handled.at(-1)).toBe(100)
    expect(started.length - handled.length).toBe(1)
  })

  test('does not know how many are missing when that was not known of one gap among them', async () => {
    const on = new PubSubOn()
    const { started, next } = await slow(on, { maxQueue: 3 })
    await on.receive('a', 1)
    await on.clock.advance(0)
    on.receiver.gap({ reason: 'epoch', missed: undefined })
    for (const payload of [2, 3, 4, 5]) await on.receive('a', payload)
    for (let rest = 0; rest < 5; rest += 1) await next()
    expect(started.filter((each) => typeof each === 'object')).toEqual([
      { reason: 'epoch', missed: undefined },
    ])
    expect(started.at(-1)).toBe(5)
  })

  test('with overflow coalesce has the last of each topic and key only, in the place of the first', async () => {
    const on = new PubSubOn()
    const { started, next } = await slow(on, { overflow: 'coalesce', maxQueue: 3 })
    await on.receive('a', 'running', { key: 'k' })
    await on.clock.advance(0)
    for (let index = 0; index < 50; index += 1) {
      await on.receive('a', `k${index}`, { key: 'k' })
      await on.receive('a', `l${index}`, { key: 'l' })
      await on.receive('b', `bk${index}`, { key: 'k' })
    }
    expect(on.pubsub.stats().waiting).toBe(3)
    for (let rest = 0; rest < 5; rest += 1) await next()
    expect(started).toEqual(['running', 'k49', 'l49', 'bk49'])
  })

  test('with overflow coalesce overflows by what has no key, or many', async () => {
    const on = new PubSubOn()
    const { started, next } = await slow(on, { overflow: 'coalesce', maxQueue: 2 })
    await on.receive('a', 0)
    await on.clock.advance(0)
    await on.receive('a', 1)
    await on.receive('a', 2)
    await on.receive('a', 3, { key: 'k' })
    for (let rest = 0; rest < 5; rest += 1) await next()
    expect(started).toEqual([0, { reason: 'overflow', missed: 2 }, 3])
  })

  test('with overflow coalesce never has a later one before a gap', async () => {
    const on = new PubSubOn()
    const { started, next } = await slow(on, { overflow: 'coalesce' })
    await on.receive('a', 'running')
    await on.clock.advance(0)
    await on.receive('a', 'before', { key: 'k' })
    on.receiver.gap({ reason: 'epoch', missed: undefined })
    await on.receive('a', 'after', { key: 'k' })
    await on.receive('a', 'last', { key: 'k' })
    for (let rest = 0; rest < 5; rest += 1) await next()
    expect(started).toEqual(['running', 'before', { reason: 'epoch', missed: undefined }, 'last'])
  })

  test('with overflow block holds up the driver until there is room, and loses nothing', async () => {
    const on = new PubSubOn()
    const { started, next } = await slow(on, { overflow: 'block', maxQueue: 2 })
    expect(watch(on.receive('a', 1)).state).toBe('pending')
    await on.clock.advance(0)
    const batch = [2, 3, 4, 5].map((payload) => on.signal('a', payload))
    const receiving = watch(on.receiver.receive(batch))
    await on.clock.advance(0)
    expect(on.pubsub.stats()).toMatchObject({ received: 3, waiting: 2 })
    await next()
    expect(on.pubsub.stats()).toMatchObject({ received: 4, waiting: 2 })
    expect(receiving.state).toBe('pending')
    await next()
    await next()
    expect(receiving.state).toBe('resolved')
    for (let rest = 0; rest < 5; rest += 1) await next()
    expect(started).toEqual([1, 2, 3, 4, 5])
    expect(on.pubsub.stats()).toMatchObject({ gaps: 0, handled: 5 })
  })

  test('with overflow block lets the driver go on when it is closed', async () => {
    const on = new PubSubOn()
    const subscription = await on.pubsub.subscribe('a', never, {
      onGap: 'ignore',
      overflow: 'block',
      maxQueue: 1,
    })
    const batch = [1, 2, 3].map((payload) => on.signal('a', payload))
    const receiving = watch(on.receiver.receive(batch))
    await on.clock.advance(0)
    expect(receiving.state).toBe('pending')
    void subscription.close()
    await on.clock.advance(0)
    expect(receiving.state).toBe('resolved')
  })
})

describe('coalesceMs', () => {
  test('holds each signal back for so long, and of one topic and key the last counts', async () => {
    const on = new PubSubOn()
    const { seen } = await on.follow('#', { coalesceMs: 1_000 })
    await on.receive('a', 1, { key: 'k' })
    await on.clock.advance(600)
    await on.receive('a', 2, { key: 'k' })
    await on.receive('a', 3, { key: 'l' })
    await on.clock.advance(399)
    expect(seen).toEqual([])
    await on.clock.advance(1)
    expect(seen).toEqual([2])
    await on.clock.advance(600)
    expect(seen).toEqual([2, 3])
  })

  test('holds back, but does not join, what has no key', async () => {
    const on = new PubSubOn()
    const { seen } = await on.follow('#', { coalesceMs: 100 })
    for (const payload of [1, 2, 3]) await on.receive('a', payload)
    await on.clock.advance(99)
    expect(seen).toEqual([])
    await on.clock.advance(1)
    expect(seen).toEqual([1, 2, 3])
  })

  test('does not hold up a gap, nor what comes after it, for longer', async () => {
    const on = new PubSubOn()
    const { seen } = await on.follow('#', { coalesceMs: 100 })
    await on.receive('a', 1)
    on.receiver.gap({ reason: 'epoch', missed: 5 })
    await on.receive('a', 2)
    await on.clock.advance(100)
    expect(seen).toEqual([1, { reason: 'epoch', missed: 5 }, 2])
  })

  test('ends early with overflow block, when the queue is full', async () => {
    const on = new PubSubOn()
    const { seen } = await on.follow('#', { coalesceMs: 10_000, overflow: 'block', maxQueue: 2 })
    const batch = [1, 2, 3].map((payload) => on.signal('a', payload))
    const receiving = watch(on.receiver.receive(batch))
    await on.clock.advance(0)
    expect(receiving.state).toBe('resolved')
    expect(seen).toEqual([1, 2])
    await on.clock.advance(10_000)
    expect(seen).toEqual([1, 2, 3])
  })

  test('leaves no timer when the subscription is closed', async () => {
    const on = new PubSubOn()
    const { seen, subscription } = await on.follow('#', { coalesceMs: 10_000 })
    await on.receive('a', 1)
    await on.clock.advance(0)
    await subscription.close()
    expect(on.clock.pendingTimers).toBe(0)
    expect(seen).toEqual([])
  })
})

import { describe, expect, test } from 'vitest'
import { MultinodeError } from '../../src/index.ts'
import { failureOf, Later, never, watch } from '../support/outcome.ts'
import { away, PubSubOn } from './pubsub-on.ts'

const onGap = 'ignore'

describe('drain', () => {
  test('lets the running handler end, and handles nothing more', async () => {
    const on = new PubSubOn()
    const later = new Later<void>()
    const started: unknown[] = []
    const handler = ({ payload }: { readonly payload: unknown }): Promise<void> => {
      started.push(payload)
      return later.promise
    }
    await on.pubsub.subscribe('a', handler, { onGap })
    for (const payload of [1, 2]) await on.receive('a', payload)
    await on.clock.advance(0)
    const drained = watch(on.pubsub.drain(5_000))
    await on.receive('a', 3)
    await on.clock.advance(4_000)
    expect(drained.state).toBe('pending')
    later.resolve()
    await on.clock.advance(0)
    expect(drained).toEqual({ state: 'resolved', value: [] })
    expect(started).toEqual([1])
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('sends what is buffered, and says how many were not sent', async () => {
    const on = new PubSubOn({ publish: away })
    for (const payload of [1, 2, 3]) await on.pubsub.publish('a', payload)
    const drained = watch(on.pubsub.drain(5_000))
    await on.clock.advance(5_000)
    expect(drained.value).toEqual(['3 signals that were not sent'])
    const again = watch(on.pubsub.drain(5_000))
    delete on.answers.publish
    await on.clock.advance(2_000)
    expect(again.value).toEqual([])
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('names the patterns whose handlers still run', async () => {
    const on = new PubSubOn()
    await on.pubsub.subscribe('a', never, { onGap })
    await on.pubsub.subscribe('b', never, { onGap })
    await on.receive('a', 1)
    await on.clock.advance(0)
    const drained = watch(on.pubsub.drain(1_000))
    await on.clock.advance(1_000)
    expect(drained.value).toEqual(['a'])
  })

  test('twice at once resolves for both as soon as all is sent', async () => {
    const on = new PubSubOn({ publish: away })
    await on.pubsub.publish('a', 1)
    const drained = [watch(on.pubsub.drain(30_000)), watch(on.pubsub.drain(5_000))]
    delete on.answers.publish
    await on.clock.advance(100)
    expect(drained.map(({ value }) => value)).toEqual([[], []])
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('goes on with publishing', async () => {
    const on = new PubSubOn()
    await on.pubsub.drain(1_000)
    expect(await on.pubsub.publish('a')).toEqual({ status: 'sent' })
  })
})

describe('close', () => {
  test('ends subscriptions, leaves once, and leaves no timer', async () => {
    const on = new PubSubOn()
    const { seen } = await on.follow('a')
    await on.pubsub.publish('a')
    await on.pubsub.close()
    await on.pubsub.close()
    expect(on.leaves).toBe(1)
    await on.receive('a', 1)
    await on.clock.advance(0)
    expect(seen).toEqual([])
    expect(on.pubsub.stats()).toMatchObject({ subscriptions: 0, outbox: 0, waiting: 0 })
    expect(on.clock.pendingTimers).toBe(0)
    expect(on.reported).toEqual([])
  })

  test('refuses later calls with CLOSED', async () => {
    const on = new PubSubOn()
    await on.pubsub.close()
    const closed = { code: 'CLOSED', capability: 'pubsub' }
    expect(await failureOf(() => on.pubsub.publish('a'))).toMatchObject(closed)
    expect(await failureOf(() => on.follow('a'))).toMatchObject(closed)
    expect(on.published).toEqual([])
  })

  test('sends what is buffered before it leaves', async () => {
    const on = new PubSubOn({ publish: away })
    await on.pubsub.publish('a', 1)
    const closed = watch(on.pubsub.close())
    await on.clock.advance(0)
    expect({ state: closed.state, leaves: on.leaves }).toEqual({ state: 'pending', leaves: 0 })
    delete on.answers.publish
    await on.clock.advance(50)
    expect({ state: closed.state, leaves: on.leaves }).toEqual({ state: 'resolved', leaves: 1 })
    expect(on.reported).toEqual([])
  })

  test('gives up after callTimeoutMs, reports what was lost, and sends nothing later', async () => {
    const on = new PubSubOn({ publish: away }, { callTimeoutMs: 1_000 })
    await on.pubsub.publish('a', 1)
    const closed = watch(on.pubsub.close())
    await on.clock.advance(1_000)
    expect(closed.state).toBe('resolved')
    expect(on.reported).toMatchObject([
      { code: 'LOST', message: expect.stringContaining('1 signals that were not sent') },
    ])
    const { length } = on.published
    delete on.answers.publish
    await on.clock.advance(60_000)
    expect(on.published).toHaveLength(length)
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('rejects with CLOSED what is still on its way', async () => {
    const on = new PubSubOn({ publish: never }, { callTimeoutMs: 1_000 })
    const published = [watch(on.pubsub.publish('a', 1)), watch(on.pubsub.publish('a', 2))]
    const closed = watch(on.pubsub.close())
    await on.clock.advance(1_000)
    expect(published).toMatchObject(Array(2).fill({ state: 'rejected', value: { code: 'CLOSED' } }))
    expect(closed.state).toBe('resolved')
    await on.clock.advance(1_000)
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('does not wait longer than callTimeoutMs for a driver that does not leave, and reports it', async () => {
    const on = new PubSubOn({ leave: never }, { callTimeoutMs: 1_000 })
    const closed = watch(on.pubsub.close())
    await on.clock.advance(1_050)
    expect(closed.state).toBe('resolved')
    expect(on.reported).toMatchObject([{ code: 'TIMEOUT' }])
  })

  test('reports a driver that cannot leave', async () => {
    const gone = new MultinodeError('UNAVAILABLE', 'gone', { capability: 'pubsub' })
    const on = new PubSubOn({ leave: () => Promise.reject(gone) })
    await on.pubsub.close()
    expect(on.reported).toEqual([gone])
  })

  test('while the node is joining lets it join first, so that it can leave', async () => {
    const joined = new Later<void>()
    const on = new PubSubOn({ join: () => joined.promise })
    const closed = watch(on.pubsub.close())
    await on.clock.advance(1_000)
    expect({ state: closed.state, leaves: on.leaves }).toEqual({ state: 'pending', leaves: 0 })
    joined.resolve()
    await on.clock.advance(0)
    expect({ state: closed.state, leaves: on.leaves }).toEqual({ state: 'resolved', leaves: 1 })
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('between two attempts to join ends them at once', async () => {
    const gone = new MultinodeError('UNAVAILABLE', 'gone', { capability: 'pubsub' })
    const on = new PubSubOn({ join: () => Promise.reject(gone) })
    await on.clock.advance(2_000)
    const { joins } = on
    await on.pubsub.close()
    expect(on.clock.pendingTimers).toBe(0)
    await on.clock.advance(60_000)
    expect(on.joins).toBe(joins)
  })

  test('ends a call of subscribe that waits for the node to join', async () => {
    const joined = new Later<void>()
    const on = new PubSubOn({ join: () => joined.promise })
    const subscribed = watch(on.follow('a'))
    const closed = on.pubsub.close()
    joined.resolve()
    await closed
    expect(subscribed).toMatchObject({ state: 'rejected', value: { code: 'CLOSED' } })
    expect(on.pubsub.stats().subscriptions).toBe(0)
  })
})

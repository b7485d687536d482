import { describe, expect, test } from 'vitest'
import { MultinodeError, type PublishReply, type PublishRequest } from '../../src/index.ts'
import { decode } from '../../src/pubsub/envelope.ts'
import { Later, never, watch } from '../support/outcome.ts'
import { away, PubSubOn } from './pubsub-on.ts'

const kib = 1_024

function payloads({ signals }: PublishRequest): unknown[] {
  return signals.map(({ data }) => decode(data).payload)
}

/** A node whose backend is away from the start: what is published is buffered. */
async function nodeWithoutBackend(): Promise<PubSubOn> {
  const on = new PubSubOn({ publish: away })
  await on.pubsub.publish('a', 'first')
  return on
}

describe('what is published', () => {
  test('is sent when the backend has it', async () => {
    const on = new PubSubOn()
    expect(await on.pubsub.publish('orders.changed', { id: 1 })).toEqual({ status: 'sent' })
    expect(on.published).toMatchObject([
      { lane: 0, firstUnaccepted: 1, signals: [{ sequence: 1, topic: 'orders.changed' }] },
    ])
    expect(on.published.map(payloads)).toEqual([[{ id: 1 }]])
  })

  test('goes one batch after the other: the first at once, the next ones together', async () => {
    const replies = [new Later<PublishReply>(), new Later<PublishReply>()]
    const on = new PubSubOn({ publish: async () => replies[on.published.length - 1]?.promise ?? never() })
    const all = [1, 2, 3].map((payload) => watch(on.pubsub.publish('a', payload)))
    await on.clock.advance(0)
    expect(on.published.map(payloads)).toEqual([[1]])
    replies[0]?.resolve({ accepted: 1 })
    await on.clock.advance(0)
    expect(on.published.map(payloads)).toEqual([[1], [2, 3]])
    expect(on.published[1]).toMatchObject({
      firstUnaccepted: 2,
      signals: [{ sequence: 2 }, { sequence: 3 }],
    })
    expect(all.map(({ state }) => state)).toEqual(['resolved', 'pending', 'pending'])
    replies[1]?.resolve({ accepted: 2 })
    await on.clock.advance(0)
    expect(all.map(({ value }) => value)).toEqual(Array(3).fill({ status: 'sent' }))
  })

  test('goes in batches of 256 at most', async () => {
    const on = new PubSubOn()
    await Promise.all(Array.from({ length: 600 }, (_, index) => on.pubsub.publish('a', index)))
    expect(on.published.map(({ signals }) => signals.length)).toEqual([1, 256, 256, 87])
    expect(on.sequences().flat()).toEqual(Array.from({ length: 600 }, (_, index) => index + 1))
    expect(on.published.flatMap(payloads)).toEqual(Array.from({ length: 600 }, (_, index) => index))
  })

  test('keeps its number and its bytes once it was sent, also when it is sent again', async () => {
    const on = new PubSubOn({ publish: away })
    await Promise.all([1, 2].map((payload) => on.pubsub.publish('a', payload)))
    on.answers.publish = async () => ({
      accepted: 1,
      failure: { error: new Error('away'), isFinal: false },
    })
    await on.clock.advance(50)
    delete on.answers.publish
    await on.clock.advance(100)
    expect(on.sequences()).toEqual([[1], [1, 2], [2]])
    expect(on.published.map(payloads)).toEqual([[1], [1, 2], [2]])
    expect(on.published.map(({ firstUnaccepted }) => firstUnaccepted)).toEqual([1, 1, 2])
    const [, before, after] = on.published
    expect(after?.signals[0]).toEqual(before?.signals[1])
  })

  describe('and refused for good', () => {
    const certain = new MultinodeError('REJECTED', 'not this one', { outcome: 'not-sent' })
    const uncertain = new MultinodeError('REJECTED', 'not this one')

    /** Takes all but `bad`. */
    function refusing(error: Error): PubSubOn {
      return new PubSubOn({
        publish: async ({ signals }) => {
          const bad = signals.findIndex(({ data }) => decode(data).payload === 'bad')
          return bad === -1
            ? { accepted: signals.length }
            : { accepted: bad, failure: { error, isFinal: true } }
        },
      })
    }

    test.each([
      ['their numbers move up when the backend cannot know its own', certain, [3, 4]],
      ['they keep their numbers when the backend may know its own', uncertain, [4, 5]],
    ])('rejects, and those behind it go on: %s', async (_, refusal, sequences) => {
      const on = refusing(refusal)
      const all = ['a', 'b', 'bad', 'c', 'd'].map((payload) => watch(on.pubsub.publish('t', payload)))
      await on.clock.advance(0)
      const states = all.map(({ state }) => state)
      expect(states).toEqual(['resolved', 'resolved', 'rejected', 'resolved', 'resolved'])
      expect(all[2]?.value).toBe(refusal)
      expect(on.sequences()).toEqual([[1], [2, 3, 4, 5], sequences])
      expect(on.published.map(({ firstUnaccepted }) => firstUnaccepted)).toEqual([1, 2, sequences[0]])
      expect(on.published.map(payloads).at(-1)).toEqual(['c', 'd'])
      expect(on.reported).toEqual([])
    })

    test('no number moves that was in doubt before', async () => {
      const on = new PubSubOn({ publish: away })
      await Promise.all(['a', 'bad', 'c'].map((payload) => on.pubsub.publish('t', payload)))
      await on.clock.advance(50)
      const { answers } = refusing(certain)
      Object.assign(on.answers, answers)
      await on.clock.advance(100)
      expect(on.sequences()).toEqual([[1], [1, 2, 3], [1, 2, 3], [3]])
      expect(on.published.map(payloads).at(-1)).toEqual(['c'])
    })
  })

  test('is reported when it is refused for good only after it was buffered', async () => {
    const on = await nodeWithoutBackend()
    const refusal = new MultinodeError('REJECTED', 'not this one', { capability: 'pubsub' })
    on.answers.publish = async () => ({ accepted: 0, failure: { error: refusal, isFinal: true } })
    await on.clock.advance(50)
    expect(on.reported).toEqual([refusal])
    expect(on.pubsub.stats()).toMatchObject({ outbox: 0 })
    // Who refuses is there.
    delete on.answers.publish
    expect(await on.pubsub.publish('a', 'second')).toEqual({ status: 'sent' })
  })

  test('settles with buffered when a driver throws, or does not answer in time', async () => {
    const on = new PubSubOn({ publish: () => Promise.reject(new Error('a defect')) })
    expect(await on.pubsub.publish('a')).toEqual({ status: 'buffered' })
    const silent = new PubSubOn({ publish: never }, { callTimeoutMs: 1_000 })
    const published = watch(silent.pubsub.publish('a'))
    await silent.clock.advance(999)
    expect(published.state).toBe('pending')
    await silent.clock.advance(101)
    expect(published.value).toEqual({ status: 'buffered' })
  })
})

describe('a backend that is slow but answers in time', () => {
  const callTimeoutMs = 1_000

  /** Answers after 900 ms, each time. */
  function slowBackend(): PubSubOn {
    const on = new PubSubOn(
      {
        publish: async ({ signals }) => {
          const later = new Later<void>()
          on.clock.setTimer(() => later.resolve(), 900)
          await later.promise
          return { accepted: signals.length }
        },
      },
      { callTimeoutMs },
    )
    return on
  }

  test('does not keep who publishes behind others for longer than callTimeoutMs, and a twentieth', async () => {
    const on = slowBackend()
    const first = watch(on.pubsub.publish('a', 1))
    await on.clock.advance(100)
    const second = watch(on.pubsub.publish('a', 2))
    await on.clock.advance(800)
    expect(first.value).toEqual({ status: 'sent' })
    await on.clock.advance(249)
    expect(second.state).toBe('pending')
    await on.clock.advance(1)
    expect(second.value).toEqual({ status: 'buffered' })
    await on.clock.advance(1_000)
    expect(on.published.map(payloads)).toEqual([[1], [2]])
    expect(on.pubsub.stats()).toMatchObject({ outbox: 0, buffered: 1 })
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('has taken what was published in time', async () => {
    const on = slowBackend()
    const one = watch(on.pubsub.publish('a', 1))
    await on.clock.advance(850)
    const two = watch(on.pubsub.publish('a', 2))
    await on.clock.advance(950)
    expect([one.value, two.value]).toEqual([{ status: 'sent' }, { status: 'sent' }])
    expect(on.clock.pendingTimers).toBe(0)
  })
})

describe('while the backend is away', () => {
  test('what is published is buffered at once, and sent in its turn when it is back', async () => {
    const on = await nodeWithoutBackend()
    expect(await on.pubsub.publish('a', 'second')).toEqual({ status: 'buffered' })
    expect(on.published).toHaveLength(1)
    expect(on.pubsub.stats()).toMatchObject({ published: 2, buffered: 2, outbox: 2 })
    delete on.answers.publish
    await on.clock.advance(50)
    expect(on.published.map(payloads)).toEqual([['first'], ['first', 'second']])
    expect(on.pubsub.stats()).toMatchObject({ outbox: 0 })
    expect(await on.pubsub.publish('a', 'third')).toEqual({ status: 'sent' })
  })

  test('it is asked again after at most 50 ms, then ever later, up to half a second', async () => {
    const on = await nodeWithoutBackend()
    const times: number[] = []
    on.answers.publish = () => {
      times.push(on.clock.monotonicMs())
      return away()
    }
    await on.clock.advance(30_000)
    const pauses = times.map((atMs, index) => atMs - (times[index - 1] ?? 0))
    for (const [index, pauseMs] of pauses.entries()) {
      const longestMs = Math.min(500, 50 * 2 ** index)
      expect(pauseMs).toBeLessThanOrEqual(longestMs)
      expect(pauseMs).toBeGreaterThanOrEqual(longestMs / 2)
    }
    expect(pauses.length).toBeGreaterThan(60)
  })

  test('and again, it is asked as soon as the first time', async () => {
    const on = await nodeWithoutBackend()
    await on.clock.advance(10_000)
    delete on.answers.publish
    await on.clock.advance(2_000)
    on.answers.publish = away
    await on.pubsub.publish('a')
    const before = on.published.length
    await on.clock.advance(50)
    expect(on.published.length).toBe(before + 1)
  })

  test('nothing is asked when nothing is buffered', async () => {
    const on = await nodeWithoutBackend()
    delete on.answers.publish
    await on.clock.advance(60_000)
    expect(on.published).toHaveLength(2)
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('more than 10,000 push out the oldest that were never sent, and one signal says how many', async () => {
    const on = await nodeWithoutBackend()
    await Promise.all(Array.from({ length: 10_100 }, (_, index) => on.pubsub.publish('t', index)))
    expect(on.pubsub.stats().outbox).toBe(10_000)
    delete on.answers.publish
    await on.clock.advance(50)
    const sent = on.published.slice(1).flatMap(({ signals }) => signals)
    expect(sent.map(({ sequence }) => sequence)).toEqual(
      Array.from({ length: 10_000 }, (_, index) => index + 1),
    )
    const envelopes = sent.map(({ data }) => decode(data))
    expect(envelopes[0]).toMatchObject({ payload: 'first', lost: undefined })
    // 'first' was sent once and keeps its place; the marker takes one as well.
    expect(envelopes[1]).toMatchObject({ payload: undefined, lost: 102 })
    expect(envelopes.slice(2).map(({ payload }) => payload)).toEqual(
      Array.from({ length: 9_998 }, (_, index) => index + 102),
    )
    expect(envelopes.filter(({ lost }) => lost !== undefined)).toHaveLength(1)
  })

  test('more than 8 MiB push out the oldest, too', async () => {
    const on = await nodeWithoutBackend()
    const payload = new Uint8Array(60 * kib)
    await Promise.all(Array.from({ length: 200 }, () => on.pubsub.publish('t', payload)))
    delete on.answers.publish
    await on.clock.advance(50)
    const sent = on.published.slice(1).flatMap(({ signals }) => signals)
    const bytes = sent.reduce((sum, { data }) => sum + data.byteLength, 0)
    expect(bytes).toBeLessThanOrEqual(8 * kib * kib)
    expect(bytes).toBeGreaterThan(8 * kib * kib - 61 * kib)
    const { lost = 0 } = decode(sent[1]?.data ?? new Uint8Array())
    expect(lost + sent.length - 2).toBe(200)
  })

  test('what was sent already is kept even then: the backend may have it', async () => {
    const on = new PubSubOn({ publish: never })
    void on.pubsub.publish('t', 'alone')
    await on.clock.advance(0)
    on.answers.publish = away
    const batch = Array.from({ length: 256 }, (_, index) => index)
    for (const payload of batch) void on.pubsub.publish('t', payload)
    await on.clock.advance(5_250)
    await on.clock.advance(50)
    expect(on.published.map(({ signals }) => signals.length)).toEqual([1, 256])
    for (let index = 0; index < 10_000; index += 1) void on.pubsub.publish('t', 'more')
    delete on.answers.publish
    await on.clock.advance(100)
    const sent = on.published.slice(2).flatMap(payloads)
    expect(sent.slice(0, 256)).toEqual(['alone', ...batch.slice(0, 255)])
    expect(sent).toHaveLength(10_000)
  })

  test('the next overflow, after the marker was sent, gets a marker of its own', async () => {
    const on = await nodeWithoutBackend()
    for (let index = 0; index < 10_000; index += 1) void on.pubsub.publish('t', index)
    // Sends the marker, which nobody takes.
    await on.clock.advance(50)
    for (let index = 0; index < 10; index += 1) void on.pubsub.publish('t', 'late')
    delete on.answers.publish
    await on.clock.advance(100)
    const lost = on.published
      .slice(2)
      .flatMap(({ signals }) => signals.map(({ data }) => decode(data).lost))
      .filter((count) => count !== undefined)
    expect(lost).toEqual([2, 11])
  })

  test('a marker that is refused for good is tried again all the same, and that is reported', async () => {
    const on = await nodeWithoutBackend()
    for (let index = 0; index < 10_000; index += 1) void on.pubsub.publish('t', index)
    const error = new MultinodeError('REJECTED', 'no right to publish', { outcome: 'not-sent' })
    on.answers.publish = async ({ signals }) => {
      const accepted = signals.findIndex(({ data }) => decode(data).lost !== undefined)
      return accepted === -1 ? { accepted: signals.length } : { accepted, failure: { error, isFinal: true } }
    }
    await on.clock.advance(50)
    expect(on.reported).toEqual([error])
    delete on.answers.publish
    await on.clock.advance(100)
    expect(on.pubsub.stats().outbox).toBe(0)
    expect(on.published.at(-1)?.signals).not.toHaveLength(0)
    expect(on.published.flatMap(({ signals }) => signals.map(({ data }) => decode(data).lost))).toContain(2)
  })
})

describe('the signals of several lanes', () => {
  test('are numbered in each, and a topic is always in the same one', async () => {
    const on = new PubSubOn({}, { lanes: 4 })
    const topics = ['orders.changed', 'stock', 'users.1', 'users.2', 'users.3', 'a', 'b', 'c']
    for (const topic of [...topics, ...topics]) await on.pubsub.publish(topic, topic)
    const lanes = new Map<number, { sequences: number[]; topics: Set<string> }>()
    for (const { lane, signals } of on.published) {
      const known = lanes.get(lane) ?? { sequences: [], topics: new Set() }
      lanes.set(lane, known)
      for (const { sequence, topic } of signals) {
        known.sequences.push(sequence)
        known.topics.add(topic)
      }
    }
    expect(lanes.size).toBeGreaterThan(1)
    for (const { sequences } of lanes.values())
      expect(sequences).toEqual(sequences.map((_, index) => index + 1))
    const all = [...lanes.values()].flatMap((lane) => [...lane.topics])
    expect(all.sort()).toEqual([...topics].sort())
  })

  test('are spread by a sum that no later version may change', async () => {
    const on = new PubSubOn({}, { lanes: 8 })
    const topics = ['orders.changed', 'stock.changed', 'a', 'ä.ö']
    for (const topic of topics) await on.pubsub.publish(topic)
    expect(on.published.map(({ lane }) => lane)).toEqual([2, 7, 4, 1])
  })

  test('of which one is stuck do not hold up the others', async () => {
    const on = new PubSubOn(
      { publish: ({ lane }) => (lane === 4 ? never() : Promise.resolve({ accepted: 1 })) },
      { lanes: 8 },
    )
    const stuck = watch(on.pubsub.publish('a'))
    expect(await on.pubsub.publish('stock.changed')).toEqual({ status: 'sent' })
    expect(stuck.state).toBe('pending')
  })
})

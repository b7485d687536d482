import { describe, expect, test } from 'vitest'
import { MultinodeError } from '../../src/index.ts'
import { decode } from '../../src/pubsub/envelope.ts'
import { callUntyped } from '../support/call-untyped.ts'
import { failureOf, never, watch } from '../support/outcome.ts'
import { away, PubSubOn } from './pubsub-on.ts'

describe('publish', () => {
  const bad: readonly (readonly [string, readonly unknown[], string, string])[] = [
    ['no topic', [], 'topic', 'topic is undefined'],
    ['a pattern for a topic', ['a.*'], 'topic', 'topic is "a.*"'],
    ['a misspelt option', ['a', 1, { keys: 'k' }], 'keys', 'publish has no option "keys"; it knows key,'],
    ['null for options', ['a', 1, null], 'the options of publish', 'the options of publish is null'],
    ['an empty key', ['a', 1, { key: '' }], 'key', 'key is ""'],
    ['a key that is no text', ['a', 1, { key: 7 }], 'key', 'key is 7'],
    ['a lone surrogate in a key', ['a', 1, { key: 'a\uD83D' }], 'key', 'key is "a'],
    ['a node id instead of a list', ['a', 1, { to: 'n1' }], 'to', 'to is "n1"; it must be an array'],
    ['an empty node id', ['a', 1, { to: ['n1', ''] }], 'to', 'to is ""'],
    ['a node id that is no text', ['a', 1, { to: [1] }], 'to', 'to is 1'],
    [
      'transient as text',
      ['a', 1, { transient: 'yes' }],
      'transient',
      'transient is "yes"; it must be true or false.',
    ],
  ]

  test.each(bad)('refuses %s by name and value, and nobody is asked', async (_, args, name, message) => {
    const on = new PubSubOn()
    const error = await failureOf(() => callUntyped(on.pubsub, 'publish', args))
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', retryable: false, details: { name } })
    expect(error).toHaveProperty('message', expect.stringContaining(message))
    expect(on.published).toEqual([])
    expect(on.pubsub.stats().published).toBe(0)
  })

  test('refuses a payload without JSON form, and goes on with the next', async () => {
    const on = new PubSubOn()
    await expect(on.pubsub.publish('a', () => {})).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(await on.pubsub.publish('a', 1)).toEqual({ status: 'sent' })
    expect(on.sequences()).toEqual([[1]])
  })

  test('takes 64 KiB all in all, and not a byte more', async () => {
    const on = new PubSubOn()
    await on.pubsub.publish('a', new Uint8Array(65_000))
    const head = (on.published[0]?.signals[0]?.data.byteLength ?? 0) - 65_000
    expect(await on.pubsub.publish('a', new Uint8Array(65_536 - head))).toEqual({ status: 'sent' })
    const error = await failureOf(() => on.pubsub.publish('a', new Uint8Array(65_537 - head)))
    expect(error).toMatchObject({
      code: 'TOO_LARGE',
      retryable: false,
      details: { topic: 'a', bytes: 65_537, most: 65_536 },
    })
    expect(error).toHaveProperty('message', expect.stringContaining('has 65537 bytes, and 65536 are allowed'))
    expect(on.published).toHaveLength(2)
  })

  test('takes no more than the driver does', async () => {
    const on = new PubSubOn({}, { maxDataBytes: 100 })
    await expect(on.pubsub.publish('a', 'x'.repeat(100))).rejects.toMatchObject({ code: 'TOO_LARGE' })
    expect(await on.pubsub.publish('a', 'x')).toEqual({ status: 'sent' })
  })

  test('puts the key and whom it is for into the envelope', async () => {
    const on = new PubSubOn()
    await on.pubsub.publish('a', 1, { key: 'k', to: ['n1', 'n2'] })
    await on.pubsub.publish('a', 1, { to: [] })
    const envelopes = on.published.flatMap(({ signals }) => signals.map(({ data }) => decode(data)))
    expect(envelopes).toMatchObject([
      { nodeId: on.nodeId, key: 'k', to: ['n1', 'n2'] },
      { nodeId: on.nodeId, key: undefined, to: [] },
    ])
  })

  test('does not wait for the node to be a member', async () => {
    const on = new PubSubOn({ join: never })
    expect(await on.pubsub.publish('a')).toEqual({ status: 'sent' })
  })
})

describe('a transient signal', () => {
  test('is sent once, without a number, beside those that wait', async () => {
    const on = new PubSubOn({ publish: away })
    await on.pubsub.publish('a', 'kept')
    delete on.answers.publish
    expect(await on.pubsub.publish('a', 'now', { transient: true })).toEqual({ status: 'sent' })
    expect(on.published.at(-1)).toMatchObject({ signals: [{ sequence: 0, topic: 'a' }], firstUnaccepted: 0 })
    await on.clock.advance(50)
    expect(on.sequences()).toEqual([[1], [0], [1]])
  })

  test('rejects with what happened when it was not accepted, and is not kept', async () => {
    const gone = new MultinodeError('UNAVAILABLE', 'gone', { capability: 'pubsub' })
    const on = new PubSubOn({
      publish: async () => ({ accepted: 0, failure: { error: gone, isFinal: false } }),
    })
    expect(await failureOf(() => on.pubsub.publish('a', 1, { transient: true }))).toBe(gone)
    await on.clock.advance(10_000)
    expect(on.published).toHaveLength(1)
    expect(on.pubsub.stats()).toMatchObject({ published: 1, buffered: 0, outbox: 0 })
  })

  test('rejects with TIMEOUT within a twentieth after callTimeoutMs when the driver does not answer', async () => {
    const on = new PubSubOn({ publish: never }, { callTimeoutMs: 1_000 })
    const published = watch(on.pubsub.publish('a', 1, { transient: true }))
    await on.clock.advance(1_050)
    expect(published).toMatchObject({ state: 'rejected', value: { code: 'TIMEOUT', outcome: 'unknown' } })
  })

  test('is received each time: it has no number to be known by', async () => {
    const on = new PubSubOn()
    const { seen } = await on.follow('a')
    await on.receive('a', 'x', { sequence: 0 })
    await on.receive('a', 'x', { sequence: 0 })
    await on.clock.advance(0)
    expect(seen).toEqual(['x', 'x'])
  })
})

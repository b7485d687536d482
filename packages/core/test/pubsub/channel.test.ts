import { describe, expect, test } from 'vitest'
import type { Schema } from '../../src/index.ts'
import { decode } from '../../src/pubsub/envelope.ts'
import { callUntyped } from '../support/call-untyped.ts'
import { failureOf } from '../support/outcome.ts'
import { PubSubOn } from './pubsub-on.ts'

interface Order {
  readonly id: number
}

/** A validator by hand, which takes ids as text, too. */
const order: Schema<Order> = {
  '~standard': {
    version: 1,
    validate(value) {
      const id = Number(Reflect.get(Object(value), 'id'))
      if (Number.isInteger(id)) return { value: { id } }
      return { issues: [{ message: 'id is no whole number' }, { message: 'try another' }] }
    },
  },
}

/** The same, but later, and as a function. */
const laterOrder: Schema<Order> = Object.assign((): void => {}, {
  '~standard': {
    version: 1 as const,
    validate: async (value: unknown) => order['~standard'].validate(value),
  },
})

describe.each([
  ['at once', order],
  ['later', laterOrder],
])('a channel with a validator that answers %s', (_, schema) => {
  test('publishes what the validator makes of the payload', async () => {
    const on = new PubSubOn()
    const channel = on.pubsub.channel('orders.changed', { schema })
    expect(channel.topic).toBe('orders.changed')
    const untyped: unknown = { id: '7', secret: true }
    expect(await callUntyped(channel, 'publish', [untyped, { key: 'k' }])).toEqual({ status: 'sent' })
    const sent = on.published.flatMap(({ signals }) => signals)
    expect(sent).toMatchObject([{ topic: 'orders.changed' }])
    expect(sent.map(({ data }) => decode(data))).toMatchObject([{ payload: { id: 7 }, key: 'k' }])
  })

  test('publishes nothing that does not fit, and says why', async () => {
    const on = new PubSubOn()
    const channel = on.pubsub.channel('orders.changed', { schema })
    const error = await failureOf(() => channel.publish({ id: 1.5 }))
    expect(error).toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { name: 'orders.changed' },
      message: 'The payload of orders.changed does not fit its schema: id is no whole number; try another.',
    })
    expect(on.published).toEqual([])
  })

  test('gives its handler what the validator makes of what arrives', async () => {
    const on = new PubSubOn()
    const ids: number[] = []
    const handler = ({ payload }: { readonly payload: Order }): void => void ids.push(payload.id)
    await on.pubsub.channel('orders.changed', { schema }).subscribe(handler, { onGap: 'ignore' })
    await on.receive('orders.changed', { id: '8' })
    await on.receive('stock.changed', { id: '9' })
    await on.clock.advance(0)
    expect(ids).toEqual([8])
  })

  test('takes what does not fit, from another version of the app, for one whose handler rejected', async () => {
    const on = new PubSubOn()
    const events: unknown[] = []
    await on.pubsub
      .channel('orders.changed', { schema })
      .subscribe(({ payload }) => void events.push(payload), { onGap: (gap) => void events.push(gap) })
    await on.receive('orders.changed', { orderId: 8 })
    await on.receive('orders.changed', { id: 9 })
    await on.clock.advance(0)
    expect(events).toEqual([{ reason: 'handler-failed', missed: 1 }, { id: 9 }])
    expect(on.reported).toMatchObject([{ message: expect.stringContaining('does not fit its schema') }])
  })
})

describe('channel', () => {
  const bad: readonly (readonly [string, readonly unknown[], string, string])[] = [
    ['a pattern', ['orders.*', { schema: order }], 'topic', 'topic is "orders.*"'],
    ['no options', ['a'], 'the options of channel', 'the options of channel is undefined'],
    ['no schema', ['a', {}], 'schema', 'schema is of type undefined; it must be a validator'],
    [
      'a schema that is none',
      ['a', { schema: { parse: (): void => {} } }],
      'schema',
      'schema is of type Object',
    ],
    [
      'a schema without validate',
      ['a', { schema: { '~standard': { version: 1 } } }],
      'schema',
      'schema is of type Object',
    ],
    [
      'a misspelt option',
      ['a', { schma: order }],
      'schma',
      'channel has no option "schma"; it knows schema.',
    ],
  ]

  test.each(bad)('refuses %s by name and value', async (_, args, name, message) => {
    const error = await failureOf(() => callUntyped(new PubSubOn().pubsub, 'channel', args))
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', details: { name } })
    expect(error).toHaveProperty('message', expect.stringContaining(message))
  })
})

import { describe, expect, test } from 'vitest'
import { checkPattern, checkTopic, matches } from '../../src/pubsub/topic.ts'

/** As RabbitMQ's topic exchange says. */
const cases: readonly (readonly [string, string, boolean])[] = [
  ['orders', 'orders', true],
  ['orders', 'order', false],
  ['orders', 'orders.changed', false],
  ['orders', 'Orders', false],
  ['orders.changed', 'orders.changed', true],
  ['orders.changed', 'orders', false],
  ['orders.changed', 'changed.orders', false],
  ['*', 'orders', true],
  ['*', 'orders.changed', false],
  ['orders.*', 'orders.changed', true],
  ['orders.*', 'orders', false],
  ['orders.*', 'orders.changed.now', false],
  ['orders.*', 'stock.changed', false],
  ['*.changed', 'orders.changed', true],
  ['*.changed', 'changed', false],
  ['*.changed', 'eu.orders.changed', false],
  ['*.*', 'orders.changed', true],
  ['*.*', 'orders', false],
  ['*.*', 'a.b.c', false],
  ['a.*.c', 'a.b.c', true],
  ['a.*.c', 'a.c', false],
  ['a.*.c', 'a.b.b.c', false],
  ['a.*.*.d', 'a.b.c.d', true],
  ['a.*.*.d', 'a.b.d', false],
  ['#', 'orders', true],
  ['#', 'a.b.c.d.e', true],
  ['orders.#', 'orders', true],
  ['orders.#', 'orders.changed', true],
  ['orders.#', 'orders.changed.now', true],
  ['orders.#', 'ordersx.changed', false],
  ['orders.#', 'stock', false],
  ['#.changed', 'changed', true],
  ['#.changed', 'orders.changed', true],
  ['#.changed', 'eu.orders.changed', true],
  ['#.changed', 'orders.changed.now', false],
  ['a.#.z', 'a.z', true],
  ['a.#.z', 'a.b.z', true],
  ['a.#.z', 'a.b.c.z', true],
  ['a.#.z', 'a.z.b', false],
  ['a.#.z', 'a', false],
  ['#.b.#', 'b', true],
  ['#.b.#', 'a.b.c', true],
  ['#.b.#', 'a.c', false],
  ['#.#', 'a', true],
  ['#.#.#', 'a.b', true],
  ['*.#', 'a', true],
  ['*.#', 'a.b.c', true],
  ['#.*', 'a', true],
  ['#.*.#', 'a.b', true],
  ['*.#.*', 'a', false],
  ['*.#.*', 'a.b', true],
  ['a.#.b.#.c', 'a.x.b.y.z.c', true],
  ['a.#.b.#.c', 'a.x.y.z.c', false],
  ['a.#.b.*', 'a.b.b.c', true],
  ['ä.*', 'ä.ö', true],
  ['a/b.*', 'a/b.c', true],
]

describe('a pattern covers a topic as in AMQP', () => {
  test.each(cases)('%s and %s: %s', (pattern, topic, covered) => {
    expect(matches(pattern, topic)).toBe(covered)
  })

  test('many # of a long pattern cost no more than the product of both lengths', () => {
    const pattern = Array.from({ length: 100 }, () => '#').join('.')
    expect(matches(`${pattern}.z`, Array.from({ length: 120 }, () => 'a').join('.'))).toBe(false)
  })
})

const bad: readonly (readonly [string, unknown, string])[] = [
  ['no text', 42, 'number'],
  ['nothing', undefined, 'undefined'],
  ['an empty text', '', '""'],
  ['an empty first word', '.a', '".a"'],
  ['an empty last word', 'a.', '"a."'],
  ['an empty word', 'a..b', '"a..b"'],
  ['a space', 'a b', '"a b"'],
  ['a newline', 'a\nb', '"a\\nb"'],
  ['a control character', 'a\u0000', '"a\\u0000"'],
  ['a lone surrogate', 'a\uD83D', '"a'],
  ['256 bytes', 'x'.repeat(256), '"xxx'],
  ['128 characters of two bytes', 'ä'.repeat(128), '"äää'],
  ['a star within a word', 'a*', '"a*"'],
  ['a hash within a word', 'a.#b', '"a.#b"'],
]

describe('a topic or a pattern is refused by name and value for', () => {
  test.each(bad)('%s', (_, value, shown) => {
    const error = (name: string): unknown =>
      expect.objectContaining({
        code: 'INVALID_ARGUMENT',
        details: { name },
        message: expect.stringContaining(`${name} is ${shown}`),
      })
    expect(() => checkTopic(value)).toThrow(error('topic'))
    expect(() => checkPattern(value)).toThrow(error('pattern'))
  })

  test('wildcards, if it is a topic', () => {
    for (const pattern of ['*', '#', 'a.*', '#.b']) {
      expect(() => checkTopic(pattern)).toThrow('without * and #')
      expect(checkPattern(pattern)).toBe(pattern)
    }
  })

  test('nothing else: 255 bytes of any visible characters', () => {
    for (const topic of ['x'.repeat(255), 'ä-_/:@{}[]%$.🔒'])
      expect([checkTopic(topic), checkPattern(topic)]).toEqual([topic, topic])
  })
})

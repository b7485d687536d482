import { expect, test } from 'vitest'
import { readSignal, signalsOf } from '../../src/cache/invalidation-signal.ts'
import type { Invalidation } from '../../src/cache/unsaid.ts'

const definition = { name: 'prices', version: '2' }

test.each<Invalidation>([{ keys: ['a', '{b}'] }, { tags: ['x'] }, { clear: true }])(
  '%j comes back',
  (what) => {
    const signals: unknown = JSON.parse(JSON.stringify(signalsOf(definition, what)))
    expect(signals).toHaveLength(1)
    expect(Array.isArray(signals) && readSignal(signals[0])).toEqual({ definition, what })
  },
)

test('each signal fits, and together they have all keys', () => {
  const keys = Array.from({ length: 300 }, (_, index) => `${index}${'\u0001'.repeat(100)}`)
  const signals = signalsOf(definition, { keys })
  expect(signals.length).toBeGreaterThan(1)
  for (const signal of signals) expect(JSON.stringify(signal).length).toBeLessThan(33_000)
  expect(signals.flatMap((signal) => Reflect.get(signal, 'k'))).toEqual(keys)
})

test.each([
  ['too many', Array.from({ length: 10_000 }, (_, index) => `${index}${'x'.repeat(100)}`)],
  ['one that is too long', ['\u0001'.repeat(10_240)]],
])('%s: all of the namespace', (_, keys) => {
  expect(signalsOf(definition, { keys })).toEqual([{ n: 'prices', v: '2' }])
})

test('what a later version may add is all of the namespace, and what is no signal may be anything', () => {
  expect(readSignal({ n: 'prices', v: '2', future: 1 })).toEqual({ definition, what: { clear: true } })
  for (const payload of [undefined, null, 7, [], { v: '2' }, { n: 'prices' }])
    expect(readSignal(payload)).toBe(undefined)
})

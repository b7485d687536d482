import { expect } from 'vitest'
import type { CacheCase } from './cache-case.ts'
import { codeOf, far, Gate, longMs, refusal } from './caching.ts'

/** How a node ends. */
export const closingCases: readonly CacheCase[] = [
  {
    name: 'after its node is closed a namespace refuses every call, and closing twice is no error',
    control: 'close-twice-rejects',
    async run(world) {
      const { cluster, cache, driver } = await world.node()
      const space = cache.namespace<string>('things', far)
      await space.set('key', 'value')
      await cluster.close()
      await cluster.close()
      await driver.close()
      const calls: (() => Promise<unknown>)[] = [
        () => space.get('key'),
        () => space.has('key'),
        () => space.getMany(['key']),
        () => space.set('key', 'value'),
        () => space.setMany([{ key: 'key', value: 'value' }]),
        () => space.getOrSet('key', () => 'value'),
        () => space.delete('key'),
        () => space.invalidateTags(['tag']),
        () => space.clear(),
      ]
      for (const call of calls) expect([String(call), await codeOf(call())]).toEqual([String(call), 'CLOSED'])
    },
  },
  {
    name: 'what a node stored stays when it is closed',
    control: 'takes-all-along',
    async run(world) {
      const [one, two] = await world.twoNodes()
      await one.cache.namespace<string>('things', far).set('key', 'value')
      await one.cluster.close()
      expect(await two.cache.namespace<string>('things', far).get('key')).toBe('value')
    },
  },
  {
    name: 'a factory is aborted when its node is closed, and another node makes the value at once',
    control: 'release-does-nothing',
    async run(world) {
      const [one, two] = await world.twoNodes()
      const options = { ...far, leaseMs: longMs, lockTimeoutMs: longMs }
      const gate = new Gate<string>()
      const signals: AbortSignal[] = []
      const made = refusal(
        one.cache.namespace<string>('things', options).getOrSet('key', ({ signal }) => {
          signals.push(signal)
          return gate.pass()
        }),
      )
      await world.until('it is being made', () => gate.arrivals === 1)
      await one.cluster.close()
      expect(signals.map(({ aborted }) => aborted)).toEqual([true])
      expect(await world.soon('it is refused', made)).toMatchObject({ code: 'CLOSED' })
      const next = two.cache.namespace<string>('things', options).getOrSet('key', () => 'value')
      expect(await world.soon('the next makes it', next)).toBe('value')
    },
  },
]

import { expect } from 'vitest'
import type { CacheCase } from './cache-case.ts'
import type { CacheWorld } from './cache-world.ts'
import { codeOf, far, withIt } from './caching.ts'

const mebibyte = 1_048_576
/** What a case stores to find the limit. */
const mostForACase = 64 * mebibyte

async function takesMuch(world: CacheWorld): Promise<string | undefined> {
  const { maxBytes } = await world.features()
  return maxBytes > mostForACase ? `the adapter takes values of ${maxBytes} bytes` : undefined
}

/** What a backend lacks is an error, and never left out in silence. */
export const unsupportedCases: readonly CacheCase[] = [
  {
    name: 'the driver declares what it guarantees, and takes values of 5 MiB',
    control: 'claims-what-it-lacks',
    async run(world) {
      const { driver } = await world.node()
      const { features } = driver
      expect(['process', 'cluster']).toContain(features.scope)
      expect(typeof features.forgetsDeletes).toBe('boolean')
      expect(features.maxBytes).toBeGreaterThan(5 * mebibyte)
      const engine = driver.bloomFilters?.engine ?? 'process'
      expect(['native', 'bitmap', 'process']).toContain(engine)
    },
  },
  {
    name: 'a value as large as the driver declares is stored, and a larger one refused: what was there stays',
    control: 'takes-less-than-it-declares',
    skip: takesMuch,
    async run(world) {
      const { maxBytes } = await world.features()
      const [one, two] = await world.pair<unknown>(far)
      // What is around the bytes counts too.
      const largest = Buffer.alloc(maxBytes - 16, 'bytes')
      expect(await one.set('key', largest)).toBe('done')
      expect(await codeOf(one.set('key', Buffer.alloc(maxBytes + 1)))).toBe('TOO_LARGE')
      const found = await two.get('key')
      expect(Buffer.isBuffer(found) && found.equals(largest)).toBe(true)
    },
  },
  {
    name: 'counters are UNSUPPORTED where the driver has none',
    control: 'claims-what-it-lacks',
    skip: withIt('counters'),
    async run(world) {
      const { cache } = await world.node()
      const work = async (): Promise<unknown> => cache.counter('logins').increment()
      expect(await codeOf(work())).toBe('UNSUPPORTED')
    },
  },
  {
    name: 'Bloom filters are UNSUPPORTED where the driver has none, also where a missing one counts as yes',
    control: 'claims-what-it-lacks',
    skip: withIt('bloomFilters'),
    async run(world) {
      const { cache } = await world.node()
      const filter = async () => cache.bloomFilter('mails', { capacity: 100, errorRate: 0.01 })
      expect(await codeOf(filter().then((found) => found.add(['item'])))).toBe('UNSUPPORTED')
      expect(await codeOf(filter().then((found) => found.mayHave('item')))).toBe('UNSUPPORTED')
    },
  },
  {
    name: 'files are UNSUPPORTED where the driver has none',
    control: 'claims-what-it-lacks',
    skip: withIt('files'),
    async run(world) {
      const { cache } = await world.node()
      const put = async () => cache.files.put('name', Buffer.from('bytes'), { contentType: 'text/plain' })
      expect(await codeOf(put())).toBe('UNSUPPORTED')
      expect(await codeOf((async () => cache.files.get('name'))())).toBe('UNSUPPORTED')
    },
  },
]

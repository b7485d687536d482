import { expect } from 'vitest'
import type { CacheDriver } from '@multinode/core'
import { settledWithin } from '../settled-within.ts'
import type { CacheCase } from './cache-case.ts'
import { type CacheNode, callMs, type CacheWorld } from './cache-world.ts'
import { claimOf, codeOf, entry, far, range, refusal } from './caching.ts'

const typed = { name: 'MultinodeError', retryable: true }
/** As short as an app has it. */
const hasty = { ...far, timeoutMs: 250 }

function cannotFreeze({ faults }: CacheWorld): string | undefined {
  return faults.freeze === undefined ? 'the harness cannot freeze the server' : undefined
}

function cannotRefuse({ faults }: CacheWorld): string | undefined {
  return faults.refuse === undefined ? 'the harness cannot refuse connections' : undefined
}

type Fault = 'freeze' | 'refuse'

/** Runs `work` while the server is in trouble. */
async function during<T>(world: CacheWorld, fault: Fault, work: () => Promise<T>): Promise<T> {
  const end = await world.faults[fault]?.()
  try {
    return await work()
  } finally {
    await end?.()
  }
}

/** Every verb of the driver, each for keys of its own. */
function everyCall(driver: CacheDriver, timeoutMs: number): Promise<unknown>[] {
  const space = driver.open({ name: 'things', version: '1' })
  const { counters, bloomFilters, files } = driver
  const filter = { name: 'filter', capacity: 100, errorRate: 0.01 }
  const file = { bytes: Buffer.from('bytes'), etag: 'etag', contentType: 'text/plain' }
  const calls: (Promise<unknown> | undefined)[] = [
    space.get('get', timeoutMs),
    space.getMany(['many', 'more'], timeoutMs),
    space.claim(claimOf('claim', { tags: ['tag'] }), timeoutMs),
    space.renew('renew', 'owner', 1_000, timeoutMs),
    space.release('release', 'owner', timeoutMs),
    space.set([entry('set', 'value', { tags: ['tag'] })], timeoutMs),
    space.delete(['delete', 'more'], timeoutMs),
    space.invalidateTags(['tag', 'other'], timeoutMs),
    space.clear(timeoutMs),
    counters?.increment('counter', 1, undefined, timeoutMs),
    counters?.get('counter', timeoutMs),
    counters?.reset('counter', timeoutMs),
    bloomFilters?.add(filter, ['item'], timeoutMs),
    bloomFilters?.mayHave(filter, ['item'], timeoutMs),
    bloomFilters?.remove('filter', timeoutMs),
    files?.put('file', file, undefined, timeoutMs),
    files?.get('file', [], timeoutMs),
    files?.delete('file', timeoutMs),
    driver.ping(timeoutMs),
  ]
  return calls.filter((call) => call !== undefined)
}

/** Rejected, typed, and in time. */
async function expectAllRefused(calls: readonly Promise<unknown>[], deadlineMs: number): Promise<void> {
  const results = await Promise.all(calls.map((call) => settledWithin(deadlineMs, call)))
  for (const [index, result] of results.entries()) {
    expect([index, result]).toMatchObject([index, typed])
  }
}

/** What an app sees of a backend that is away: nothing fails that can go on without it. */
async function expectFailsOpen({ cache }: CacheNode): Promise<void> {
  const space = cache.namespace<string>('things', hasty)
  const made = space.getOrSet('made', () => 'made')
  expect([await space.get('key'), await made]).toEqual([undefined, 'made'])
  expect(await space.set('key', 'value')).toBe('deferred')
  expect(await space.delete('key')).toBe('deferred')
  // Nothing is asked for any more, until what is deferred is heard.
  expect(await space.getMany(['key', 'other'])).toEqual([undefined, undefined])
  expect(await space.getOrSet('made', () => 'again')).toBe('again')
}

async function expectStrict({ cache }: CacheNode): Promise<void> {
  const strict = cache.namespace<string>('strict', { ...hasty, strict: true })
  const calls = [
    strict.get('key'),
    strict.getOrSet('key', () => 'made'),
    strict.set('key', 'value'),
    strict.delete('key'),
  ]
  for (const result of await Promise.all(calls.map(refusal))) expect(result).toMatchObject(typed)
}

/** Counters, filters and files are wrong when they are guessed. */
async function expectNeverGuesses({ cache, driver }: CacheNode): Promise<void> {
  const counter = cache.counter('counter')
  const filter = cache.bloomFilter('filter', { capacity: 100, errorRate: 0.01 })
  const calls: Promise<unknown>[] = []
  if (driver.counters !== undefined) calls.push(counter.increment(), counter.get())
  if (driver.bloomFilters !== undefined) calls.push(filter.add(['item']), filter.mayHave('item'))
  if (driver.files !== undefined) calls.push(cache.files.get('file'))
  for (const result of await Promise.all(calls.map(refusal))) expect(result).toMatchObject(typed)
}

/** In both namespaces, by a node that is patient enough for a busy machine. */
async function storeBefore(world: CacheWorld, keys: readonly string[]): Promise<void> {
  const { cache } = await world.node()
  for (const name of ['things', 'cleared']) {
    const space = cache.namespace<string>(name, far)
    expect(await space.setMany(keys.map((key) => ({ key, value: 'old', tags: [key] })))).toBe('done')
  }
}

async function untilBack(world: CacheWorld, nodes: readonly CacheNode[]): Promise<void> {
  for (const { cache } of nodes) {
    const space = cache.namespace<string>('things', hasty)
    await world.until('it stores again', async () => {
      const result = await space.set('back', 'back')
      return result === 'done' && (await space.get('back')) === 'back'
    })
  }
}

function failsOpenCase(fault: Fault, title: string, skip: CacheCase['skip'] & {}): CacheCase {
  return {
    name: `while the server ${title} an app goes on by its factories, counters reject, and afterwards all is as ever`,
    control: 'claims-what-failed',
    isAlone: true,
    skip,
    async run(world) {
      const [one, two] = await world.twoNodes()
      // Each of them goes by what it sees itself.
      const [strict, exact] = [await world.node(), await world.node({ callTimeoutMs: 300 })]
      await storeBefore(world, ['key'])
      await during(world, fault, async () => {
        await Promise.all([expectFailsOpen(one), expectStrict(strict), expectNeverGuesses(exact)])
      })
      await untilBack(world, [one, two])
      const space = two.cache.namespace<string>('things', hasty)
      await world.until('the old value is gone', async () => (await space.get('key')) !== 'old')
    },
  }
}

const deleted = range(1, 100).map((index) => `deleted ${index}`)

/** None of these may be read any more. */
const invalidated = [...deleted, 'set', 'tagged']

/** What happens when the server does not answer, or is not there. */
export const faultCases: readonly CacheCase[] = [
  {
    name: 'every call of the driver settles by its deadline while the server is silent, with a typed error',
    control: 'claims-what-failed',
    isAlone: true,
    skip: cannotFreeze,
    async run(world) {
      const { driver } = await world.node()
      await driver.open({ name: 'things', version: '1' }).set([entry('key', 'value')], callMs)
      // Room for a busy machine: what matters is that nothing waits for the server.
      await during(world, 'freeze', () => expectAllRefused(everyCall(driver, 300), 300 + 1_000))
    },
  },
  {
    name: 'every call of the driver is refused at once while the server is away, with a typed error',
    control: 'claims-what-failed',
    isAlone: true,
    skip: cannotRefuse,
    async run(world) {
      const { driver } = await world.node()
      const space = driver.open({ name: 'things', version: '1' })
      await during(world, 'refuse', async () => {
        const isRefused = async (): Promise<boolean> => {
          const code = await codeOf(space.get('key', 500))
          return code === 'UNAVAILABLE'
        }
        await world.until('it is noticed', isRefused)
        await expectAllRefused(everyCall(driver, 10_000), 2_000)
      })
    },
  },
  failsOpenCase('freeze', 'is silent', cannotFreeze),
  failsOpenCase('refuse', 'is away', cannotRefuse),
  {
    name: 'what was deleted, set or invalidated while the server was silent is never read again as it was before',
    control: 'claims-what-failed',
    isAlone: true,
    skip: cannotFreeze,
    async run(world) {
      const [one, two] = await world.twoNodes()
      const [here, there] = [
        one.cache.namespace<string>('things', hasty),
        two.cache.namespace<string>('things', hasty),
      ]
      const cleared = one.cache.namespace<string>('cleared', hasty)
      await storeBefore(world, [...invalidated, 'stays'])
      const results = await during(world, 'freeze', () =>
        Promise.all([
          ...deleted.map((key) => here.delete(key)),
          here.set('set', 'new'),
          here.invalidateTags(['tagged']),
          cleared.clear(),
        ]),
      )
      expect(new Set(results)).toEqual(new Set(['deferred']))
      const seen = new Set<string | undefined>()
      await world.until('the backend is trusted again', async () => {
        for (const value of await here.getMany(invalidated)) seen.add(value)
        for (const value of await cleared.getMany(invalidated)) seen.add(value)
        return (await here.get('stays')) === 'old'
      })
      expect([...seen].filter((value) => value !== undefined && value !== 'new')).toEqual([])
      expect((await there.getMany(invalidated)).filter((value) => value === 'old')).toEqual([])
    },
  },
  {
    name: 'a set that failed while the server was silent is not done when it speaks again',
    control: 'does-later-what-failed',
    isAlone: true,
    skip: cannotFreeze,
    async run(world) {
      const [here, there] = await world.spaces()
      const keys = range(1, 5).map((index) => `key ${index}`)
      await here.set(
        keys.map((key) => entry(key, 'before')),
        callMs,
      )
      // What a driver has to know of the server for this it knows by now.
      for (const key of keys) await here.get(key, callMs)
      const refusals = await during(world, 'freeze', () =>
        Promise.all(keys.map((key) => refusal(here.set([entry(key, 'late')], 1_000)))),
      )
      for (const each of refusals) expect(each).toMatchObject(typed)
      await world.until('it answers, after whatever was on its way', async () => {
        const refused = await refusal(here.set([entry('another key', 'value')], callMs))
        return refused === undefined
      })
      const found = await there.getMany(keys, callMs)
      expect(found.map((each) => each?.data.toString())).toEqual(keys.map(() => 'before'))
    },
  },
  {
    name: 'ping rejects while the server is silent, and answers afterwards',
    control: 'ping-always-succeeds',
    isAlone: true,
    skip: cannotFreeze,
    async run(world) {
      const { driver } = await world.node()
      const frozen = await during(world, 'freeze', () => settledWithin(2_000, driver.ping(200)))
      expect(frozen).toMatchObject({ code: 'TIMEOUT' })
      await world.until('it answers', async () => (await refusal(driver.ping(2_000))) === undefined)
    },
  },
]

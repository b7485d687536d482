import type { Clock, StoredEntry } from '@multinode/core'
import { serversAvailable, startRedis, tcpProxy, withLateness } from '@multinode/testbed'
import { Redis } from 'ioredis'
import { afterAll, describe, expect, it } from 'vitest'
import { CacheKeys } from '../src/cache-keys.ts'
import { unpackRecord } from '../src/entry-record.ts'
import { callMs, entry, far, longMs, node, range } from './node.ts'

/** Of a node whose time of day is off. */
function clockOff(ms: number): Clock {
  return {
    monotonicMs: () => performance.now(),
    wallMs: () => Date.now() + ms,
    setTimer(callback, delayMs, kind) {
      const timeout = setTimeout(callback, delayMs)
      if (kind === 'background') timeout.unref()
      return { cancel: () => clearTimeout(timeout) }
    },
  }
}

/** How much longer the first one takes it for fresh. */
function aheadMs(one: StoredEntry | undefined, other: StoredEntry | undefined): number {
  return (one?.freshMs ?? NaN) - (other?.freshMs ?? NaN)
}

const definition = { name: 'things', version: '' }

describe.skipIf(!serversAvailable())('nodes whose clocks are five seconds ahead and behind', async () => {
  const server = await startRedis()
  afterAll(() => server.stop())
  const ahead = clockOff(5_000)
  const behind = clockOff(-5_000)

  it('read nothing that was invalidated, and lose nothing that was not', async () => {
    await using one = await node(server.url, { clock: ahead })
    await using two = await node(server.url, { clock: behind })
    const here = one.cache.namespace<string>('things', far)
    const there = two.cache.namespace<string>('things', far)
    for (const round of range(50)) {
      await here.set('gone', `old ${round}`, { tags: ['tag'] })
      await here.set('cleared', `old ${round}`)
      await there.invalidateTags(['tag'])
      expect(await here.get('gone')).toBe(undefined)
      await here.set('kept', `new ${round}`, { tags: ['tag'] })
      expect(await there.get('kept')).toBe(`new ${round}`)
      expect(await there.get('cleared')).toBe(`old ${round}`)
    }
    await there.clear()
    expect(await here.getMany(['kept', 'cleared'])).toEqual([undefined, undefined])
  })

  it('agree on how long an entry is fresh', async () => {
    await using one = await node(server.url, { clock: ahead })
    await using two = await node(server.url, { clock: behind })
    const here = one.driver.open(definition)
    const there = two.driver.open(definition)
    const startedAt = performance.now()
    await here.set([entry('key', 'value', { ttlMs: 3_000, graceMs: 60_000 })], callMs)
    const [seen, elsewhere] = await Promise.all([here.get('key', callMs), there.get('key', callMs)])
    // By so much may an entry be older by now, and what a node takes for the time of the server be off.
    const tookMs = performance.now() - startedAt
    expect(seen?.freshMs).toBeGreaterThan(2_000 - tookMs)
    expect(Math.abs((seen?.freshMs ?? NaN) - (elsewhere?.freshMs ?? NaN))).toBeLessThan(1_000 + tookMs)
  })

  it('go by no answer about the time that came very late, but for the read that waited for it', async () => {
    await using proxy = await tcpProxy(server.port)
    await using one = await node(server.url)
    await using two = await node(`redis://127.0.0.1:${proxy.port}`)
    const here = one.driver.open(definition)
    const there = two.driver.open(definition)
    await here.set([entry('late', 'value')], callMs)
    const lateMs = 1_000
    proxy.delay(lateMs)
    const waited = await there.get('late', callMs)
    const sooner = await here.get('late', callMs)
    expect(aheadMs(waited, sooner), 'the control').toBeGreaterThan(lateMs / 2)
    proxy.delay(0)
    const { result, sumMs } = await withLateness(
      () => server.cli('PING'),
      () => Promise.all([there.get('late', callMs), here.get('late', callMs)]),
    )
    const [seen, elsewhere] = result
    expect(aheadMs(seen, elsewhere)).toBeLessThan(lateMs / 4 + sumMs)
  })

  it('would read what was invalidated if they went by their own time, the control', async () => {
    const bare = new Redis(server.url)
    await bare.hset('bare', 'value', 'old', 'at', ahead.wallMs())
    await bare.set('bare-tag', behind.wallMs())
    const [at, invalidatedAt] = [await bare.hget('bare', 'at'), await bare.get('bare-tag')]
    expect(Number(at)).toBeGreaterThan(Number(invalidatedAt))
    bare.disconnect()
  })
})

describe.skipIf(!serversAvailable())('an entry', async () => {
  const server = await startRedis()
  afterAll(() => server.stop())

  it('is fresh for its whole ttl, to less than a millisecond of the clock of the server', async () => {
    await using one = await node(server.url)
    const bare = new Redis(server.url)
    const serverMs = async (): Promise<number> => {
      const [seconds, micros] = await bare.time()
      return Number(seconds) * 1_000 + Number(micros) / 1_000
    }
    const here = one.driver.open(definition)
    const stored = new CacheKeys('shop', definition).entry('key')
    for (const round of range(20)) {
      const soonestMs = await serverMs()
      await here.set([entry('key', `value ${round}`, { ttlMs: 3_000, graceMs: longMs })], callMs)
      const latestMs = await serverMs()
      const record = unpackRecord(await bare.getBuffer(stored))
      expect(record?.freshUntilMs).toBeGreaterThanOrEqual(soonestMs + 3_000)
      expect(record?.freshUntilMs).toBeLessThanOrEqual(latestMs + 3_000)
    }
    bare.disconnect()
  })
})

describe.skipIf(!serversAvailable())('a tag', async () => {
  const server = await startRedis()
  afterAll(() => server.stop())

  it('whose key was removed costs its entries once, and is never taken for what it was', async () => {
    await using one = await node(server.url)
    const things = one.cache.namespace<string>('things', far)
    await things.setMany(['a', 'b'].map((key) => ({ key, value: 'old', tags: ['tag'] })))
    await things.set('other', 'value', { tags: ['another'] })
    const [tagKey] = await keysLike('*:tag}:tag')
    expect(await server.cli('DEL', tagKey ?? '')).toBe(1)
    expect(await things.getMany(['a', 'b', 'other'])).toEqual([undefined, undefined, 'value'])
    await things.set('a', 'new', { tags: ['tag'] })
    expect(await things.getMany(['a', 'b', 'other'])).toEqual(['new', undefined, 'value'])
    // The control: with the version that it had, the old one would be there again.
    await things.invalidateTags(['tag'])
    expect(await things.getMany(['a', 'b'])).toEqual([undefined, undefined])
  })

  async function keysLike(pattern: string): Promise<string[]> {
    const keys = await server.cli('KEYS', pattern)
    return Array.isArray(keys) ? keys.map(String) : []
  }

  it('that is invalidated while a value is made makes it invalid, and not where it is looked at afterwards, the control', async () => {
    await using one = await node(server.url)
    await using two = await node(server.url)
    const here = one.cache.namespace<string>('things', far)
    const there = two.cache.namespace<string>('things', far)
    const make = async (): Promise<string> => {
      await there.invalidateTags(['bumped'])
      return 'old'
    }
    expect(await here.getOrSet('made', make, { tags: ['bumped'] })).toBe('old')
    expect(await there.get('made')).toBe(undefined)
    await here.set('made', await make(), { tags: ['bumped'] })
    expect(await there.get('made'), 'the control').toBe('old')
  })

  it('and a namespace whose versions are kept on by who writes, a month at a time', async () => {
    await using one = await node(server.url)
    const things = one.cache.namespace<string>('kept', far)
    await things.set('key', 'value', { tags: ['on'] })
    const versions = [...(await keysLike('*kept@}:version')), ...(await keysLike('*kept@:on}:tag'))]
    expect(versions).toHaveLength(2)
    for (const key of versions) await server.cli('PEXPIRE', key, String(longMs))
    await things.set('key', 'value', { tags: ['on'] })
    for (const key of versions) {
      expect(Number(await server.cli('PTTL', key))).toBeGreaterThan(29 * 24 * 3_600_000)
    }
  })
})

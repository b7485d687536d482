import { seededRandom, serversAvailable, startRedis, waitUntil } from '@multinode/testbed'
import { describe, expect, it } from 'vitest'
import { far, node, range } from './node.ts'

const filler = 'x'.repeat(2_000)

describe.skipIf(!serversAvailable())('a Redis that is full', () => {
  it('and removes what it likes, versions of tags among it, gives nothing that was invalidated', async () => {
    const random = seededRandom()
    const args = ['--maxmemory', '6mb', '--maxmemory-policy', 'allkeys-random']
    await using server = await startRedis({ args })
    await using one = await node(server.url)
    const things = one.cache.namespace<string>('things', far)
    const tags = range(200).map((index) => `tag ${index}`)
    // Of each key, what it is; nothing once its tag was invalidated.
    const truth = new Map<string, string | undefined>()
    let wrong = 0
    let found = 0
    for (const round of range(60)) {
      const some = range(50).map(() => random.between(0, 3_999))
      const values = [...new Set(some)].map((index) => ({
        key: `key ${index}`,
        value: `${round} ${filler}`,
        tags: [tags[index % tags.length] ?? ''],
      }))
      if ((await things.setMany(values)) !== 'done') continue
      for (const { key, value } of values) truth.set(key, value)
      const gone = random.between(0, tags.length - 1)
      await things.invalidateTags([tags[gone] ?? ''])
      for (const key of truth.keys()) {
        if (Number(key.split(' ')[1]) % tags.length === gone) truth.set(key, undefined)
      }
      const looked = [...truth.keys()]
      for (const [index, value] of (await things.getMany(looked)).entries()) {
        if (value === undefined) continue
        found += 1
        if (value !== truth.get(looked[index] ?? '')) wrong += 1
      }
    }
    expect(wrong, `seed ${random.seed}`).toBe(0)
    expect(found).toBeGreaterThan(100)
    expect(await evictedKeys(server), 'the control').toBeGreaterThan(100)
  })

  it('and takes nothing more still makes invalid what it is told to', async () => {
    const args = ['--maxmemory', '20mb', '--maxmemory-policy', 'noeviction']
    await using server = await startRedis({ args })
    await using one = await node(server.url)
    await using two = await node(server.url)
    const here = one.cache.namespace<string>('things', far)
    const there = two.cache.namespace<string>('things', far)
    for (const tags of [['a'], ['b'], []]) await here.set(`of ${tags.join()}`, 'old', { tags })
    await server.cli('CONFIG', 'SET', 'maxmemory', '1')
    expect(await here.invalidateTags(['a', 'never seen'])).toBe('done')
    expect(await there.getMany(['of a', 'of b', 'of '])).toEqual([undefined, 'old', 'old'])
    expect(await here.clear()).toBe('done')
    expect(await there.getMany(['of a', 'of b', 'of '])).toEqual([undefined, undefined, undefined])
    const refused = await server.cli('SET', 'key', 'value').catch(String)
    expect(String(refused), 'the control').toContain('OOM')
    await server.cli('CONFIG', 'SET', 'maxmemory', '0')
    await here.set('of b', 'new', { tags: ['a', 'b'] })
    expect(await there.getMany(['of a', 'of b'])).toEqual([undefined, 'new'])
  })

  it('and takes nothing more leaves an app its factories, and is used again when it has room', async () => {
    const args = ['--maxmemory', '2mb', '--maxmemory-policy', 'noeviction']
    await using server = await startRedis({ args })
    await using one = await node(server.url)
    const things = one.cache.namespace<string>('things', far)
    await things.set('key', 'old')
    await server.cli('CONFIG', 'SET', 'maxmemory', '1')
    expect(await things.getOrSet('other', () => 'made')).toBe('made')
    expect(await things.set('key', 'new'), 'the control').toBe('deferred')
    expect(await things.get('key')).not.toBe('old')
    await server.cli('CONFIG', 'SET', 'maxmemory', '0')
    await waitUntil('it to be used again', async () => {
      await things.set('key', 'newest')
      return (await things.get('key')) === 'newest'
    })
  })
})

async function evictedKeys(server: {
  cli(command: string, ...args: string[]): Promise<unknown>
}): Promise<number> {
  const info = String(await server.cli('INFO', 'stats'))
  return Number(/evicted_keys:(\d+)/.exec(info)?.[1])
}

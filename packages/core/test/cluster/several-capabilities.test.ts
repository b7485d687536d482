import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { capabilities } from '../../src/capabilities.ts'
import type { Closable, LockPlugin, PluginContext } from '../../src/index.ts'
import { createCluster } from '../../src/index.ts'
import { lockCapability } from '../../src/lock/capability.ts'
import { ManualClock } from '../../src/testing/index.ts'
import { CountingBackend } from '../support/counting-backend.ts'
import { failureOf, Later, never, watch } from '../support/outcome.ts'
import { SteeredLock } from '../support/steered-lock.ts'
import { Warnings } from '../support/warnings.ts'

// Two of the same kind are easier to steer: here the lock serves as the cache too.
const { cache } = capabilities
beforeAll(() => {
  Object.assign(capabilities, { cache: { ...lockCapability, name: 'cache' } })
})
afterAll(() => {
  Object.assign(capabilities, { cache })
})

/** The two that these tests are about. */
const both = ['lock', 'cache'] as const

interface CachePlugin extends Omit<LockPlugin, 'capability'> {
  readonly capability: 'cache'
}

function asCache(plugin: LockPlugin): CachePlugin {
  return { ...plugin, capability: 'cache' }
}

describe('several capabilities', () => {
  test('some shared and others on memory: one warning, and a note in describe() and health()', async () => {
    using warnings = new Warnings()
    const plugins = [new CountingBackend().plugin()]
    await using cluster = await createCluster({ env: {}, name: 'shop', capabilities: both, plugins })
    const note = 'cache is on memory while others are shared: right on one node only'
    expect(await warnings.messages()).toEqual([
      'On memory while others are shared, so right on one node only: cache. Set CACHE_ADAPTER, or leave out what this app ' +
        'does not use, by the option capabilities.',
    ])
    expect(cluster.describe().capabilities).toMatchObject([
      { capability: 'lock', notes: [] },
      { capability: 'cache', notes: [note] },
    ])
    expect(cluster.health().capabilities).toMatchObject({ lock: { notes: [] }, cache: { notes: [note] } })
  })

  test('all on memory, or all shared: no note', async () => {
    await using onMemory = await createCluster({ env: {}, capabilities: both })
    expect(onMemory.describe().warnings).toEqual([])
    const plugins = [new CountingBackend().plugin(), asCache(new CountingBackend().plugin())]
    await using shared = await createCluster({ env: {}, name: 'shop', capabilities: both, plugins })
    expect(shared.describe().warnings).toEqual([])
  })

  test('CLUSTER_ADAPTER chooses for all of them', async () => {
    const plugins = [new CountingBackend().plugin(), asCache(new CountingBackend().plugin())]
    const env = { CLUSTER_ADAPTER: 'counting', CACHE_ADAPTER: 'memory' }
    await using cluster = await createCluster({ env, name: 'shop', capabilities: both, plugins })
    expect(cluster.describe().capabilities).toMatchObject([
      { capability: 'lock', backend: 'counting', because: 'CLUSTER_ADAPTER=counting' },
      { capability: 'cache', backend: 'memory', because: 'CACHE_ADAPTER=memory' },
    ])
  })

  test('a failed start names each capability that failed, and why', async () => {
    const env = { LOCK_ADAPTER: '@acme/not-there', CACHE_ADAPTER: '@acme/nor-there' }
    const error = await failureOf(() => createCluster({ env, capabilities: both }))
    expect(error).toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringMatching(
        /^2 capabilities failed to start:\n- LOCK_ADAPTER=@acme\/not-there: .*\n- CACHE_ADAPTER=@acme\/nor-there: /,
      ),
    })
    expect(error).toHaveProperty('cause.errors.length', 2)
  })

  test('when one fails, the other is closed, also where it arrives only after the deadline', async () => {
    const clock = new ManualClock()
    const [early, late, failing] = [new CountingBackend(), new CountingBackend(), new CountingBackend()]
    const refuse = (): Promise<never> => Promise.reject(new Error('no'))
    const plugins = [early.plugin(), asCache(failing.plugin({ opening: refuse }))]
    await expect(
      createCluster({ env: {}, name: 'shop', clock, capabilities: both, plugins }),
    ).rejects.toThrow('failed to start: no')
    expect(early).toMatchObject({ opened: 1, closed: 1 })
    expect(early.contexts[0]?.signal.aborted).toBe(true)

    const opening = new Later<void>()
    const lateOnes = [
      late.plugin({ opening: () => opening.promise }),
      asCache(failing.plugin({ opening: never })),
    ]
    const starting = watch(createCluster({ env: {}, clock, plugins: lateOnes, connectTimeoutMs: 100 }))
    await clock.advance(100)
    expect(starting.value).toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('2 capabilities'),
    })
    opening.resolve()
    await clock.advance(0)
    expect(late).toMatchObject({ opened: 1, closed: 1 })
    expect(clock.pendingTimers).toBe(0)
  })

  test('share a connection by its key, and the last to let go closes it', async () => {
    const log: string[] = []
    const open = async (): Promise<Closable> => {
      log.push('open')
      return {
        close: async () => {
          log.push('close')
        },
      }
    }
    const create = async (context: PluginContext): ReturnType<LockPlugin['create']> => {
      const share = await context.connections.share('redis://a', open)
      const { driver } = new SteeredLock(context.clock)
      return Object.assign(driver, {
        close: async () => {
          log.push('let go')
          await share.release()
        },
      })
    }
    const plugin: LockPlugin = { ...new CountingBackend().plugin(), create }
    const plugins = [plugin, asCache(plugin)]
    const one = await createCluster({ env: {}, name: 'shop', capabilities: both, plugins })
    expect(log).toEqual(['open'])
    const two = await createCluster({ env: {}, name: 'shop', capabilities: both, plugins })
    expect(log).toEqual(['open', 'open'])
    await one.close()
    expect(log.slice(2)).toEqual(['let go', 'let go', 'close'])
    await two.close()
    expect(log.slice(5)).toEqual(['let go', 'let go', 'close'])
  })

  test('the health of the cluster is the worst of all', async () => {
    const clock = new ManualClock()
    const [lock, cache] = [new SteeredLock(clock), new SteeredLock(clock)]
    const plugins = [lock.plugin(), asCache(cache.plugin())]
    await using cluster = await createCluster({ env: {}, name: 'shop', clock, capabilities: both, plugins })
    const answer = new Later<void>()
    lock.answers.ping = () => answer.promise
    await clock.advance(6_500)
    answer.resolve()
    await clock.advance(0)
    expect(cluster.health()).toMatchObject({
      status: 'degraded',
      capabilities: { lock: { status: 'degraded' }, cache: { status: 'ok' } },
    })
    cache.answers.ping = () => Promise.reject(new Error('gone'))
    await clock.advance(3_500)
    expect(cluster.health()).toMatchObject({ status: 'down', capabilities: { lock: { status: 'degraded' } } })
  })
})

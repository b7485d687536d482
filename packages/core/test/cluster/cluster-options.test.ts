import { describe, expect, test } from 'vitest'
import { createCluster, MultinodeError } from '../../src/index.ts'
import { readSettings } from '../../src/cluster/cluster-options.ts'
import { identify } from '../../src/cluster/identity.ts'

/** As plain JavaScript calls it. */
function createUntyped(options: unknown): Promise<unknown> {
  return Promise.resolve(Reflect.apply(createCluster, undefined, [options]))
}

describe('the options of createCluster', () => {
  test.each<readonly [unknown, string]>([
    [{ nam: 'shop' }, 'createCluster has no option "nam"; it knows name, nodeId, metadata, plugins'],
    [null, 'the options of createCluster is null'],
    ['shop', 'the options of createCluster is "shop"'],
    [{ name: '' }, 'name is ""'],
    [{ name: 'a b' }, 'name is "a b"'],
    [{ name: 'a'.repeat(65) }, 'name is "aaa'],
    [{ name: 7 }, 'name is 7'],
    [{ nodeId: '' }, 'nodeId is ""'],
    [{ nodeId: 'a/b' }, 'nodeId is "a/b"'],
    [{ capabilities: ['locks'] }, 'capabilities is "locks"'],
    [{ capabilities: 'lock' }, 'capabilities is "lock"'],
    [{ plugins: {} }, 'plugins is of type Object'],
    [{ require: { locks: {} } }, 'require has no option "locks"'],
    [{ require: { lock: 'cluster' } }, 'require.lock is "cluster"'],
    [{ envPrefix: '' }, 'envPrefix is ""'],
    [{ envPrefix: 'SHOP' }, 'envPrefix is "SHOP"'],
    [{ envPrefix: 'shop_' }, 'envPrefix is "shop_"'],
    [{ resolveFrom: 7 }, 'resolveFrom is 7'],
    [{ connectTimeoutMs: 0 }, 'connectTimeoutMs is 0'],
    [{ connectTimeoutMs: 1.5 }, 'connectTimeoutMs is 1.5'],
    [{ connectTimeoutMs: '1000' }, 'connectTimeoutMs is "1000"'],
    [{ callTimeoutMs: -1 }, 'callTimeoutMs is -1'],
    [{ callTimeoutMs: Number.POSITIVE_INFINITY }, 'callTimeoutMs is Infinity'],
  ])('refuse %j', async (options, words) => {
    await expect(createUntyped(options)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining(words),
    })
  })

  test('refuse what is no plugin, by its place', async () => {
    await expect(createUntyped({ plugins: [() => ({})] })).rejects.toThrow(
      'plugins[0] is no multinode plugin',
    )
  })

  test.each([
    ['CLUSTER_NAME', 'a b'],
    ['NODE_ID', 'a/b'],
  ])('refuse a malformed %s by the name of the variable', async (variable, value) => {
    const error: unknown = await createCluster({ env: { [variable]: value } }).catch(
      (cause: unknown) => cause,
    )
    expect(error).toBeInstanceOf(MultinodeError)
    expect(error).toMatchObject({
      code: 'MISCONFIGURED',
      message: expect.stringContaining(`${variable}=${value} must match`),
    })
  })

  test('have defaults', () => {
    expect(readSettings({ env: {} })).toMatchObject({
      clusterName: 'app',
      clusterNameIsDefault: true,
      connectTimeoutMs: 10_000,
      callTimeoutMs: 5_000,
      capabilities: ['pubsub', 'queue', 'lock', 'cache', 'workerid'],
    })
  })

  test('come before the environment', () => {
    const env = { CLUSTER_NAME: 'env', NODE_ID: 'env' }
    expect(readSettings({ env, name: 'code', nodeId: 'code' })).toMatchObject({
      clusterName: 'code',
      clusterNameIsDefault: false,
      nodeId: 'code',
    })
    expect(readSettings({ env })).toMatchObject({
      clusterName: 'env',
      clusterNameIsDefault: false,
      nodeId: 'env',
    })
  })
})

describe('the identity of a node', () => {
  const nodeId = (env: Record<string, string>): string => identify(readSettings({ env })).nodeId

  test('is NODE_ID, else the host name with NODE_APP_INSTANCE', () => {
    expect(nodeId({ NODE_ID: 'web-1', NODE_APP_INSTANCE: '3' })).toBe('web-1')
    expect(nodeId({ NODE_APP_INSTANCE: '3' })).toMatch(/.-3$/)
  })

  test('has a random suffix otherwise, so that two processes of one host differ', () => {
    expect(nodeId({})).toMatch(/.-[0-9a-f]{6}$/)
    expect(nodeId({})).not.toBe(nodeId({}))
  })

  test('has an incarnation of its own for every cluster object', () => {
    const settings = readSettings({ env: { NODE_ID: 'web-1' } })
    expect(identify(settings).incarnation).not.toBe(identify(settings).incarnation)
  })
})

import { describe, expect, test } from 'vitest'
import { capabilityNames } from '../../src/registry/capability-name.ts'
import { adapterVariables, ownAddressVariables, Variables } from '../../src/registry/variables.ts'

describe('the names of variables', () => {
  test('are those that operators have in their files', () => {
    expect(adapterVariables).toEqual({
      pubsub: ['PUBSUB_ADAPTER'],
      queue: ['QUEUE_ADAPTER'],
      lock: ['LOCK_ADAPTER', 'LOCK_ADAPTER_DEFAULT'],
      cache: ['CACHE_ADAPTER', 'CACHE_DEFAULT_STORE'],
      workerid: ['WORKERID_ADAPTER'],
    })
    expect(capabilityNames.map((name) => ownAddressVariables(name, 'redis'))).toEqual([
      ['PUBSUB_ADAPTER_REDIS_URL'],
      ['QUEUE_ADAPTER_REDIS_URL'],
      ['LOCK_ADAPTER_REDIS_URL'],
      ['CACHE_ADAPTER_REDIS_URL', 'CACHE_REDIS_URL'],
      ['WORKERID_ADAPTER_REDIS_URL'],
    ])
    expect(ownAddressVariables('queue', 'rabbitmq')).toEqual(['QUEUE_ADAPTER_RABBITMQ_URL'])
  })
})

describe('Variables.read', () => {
  test.each(['', '  ', '\t\n', undefined])('counts %j as not set', (value) => {
    expect(new Variables({ LOCK_ADAPTER: value }).read(['LOCK_ADAPTER'])).toBeUndefined()
  })

  test('removes blanks around a value', () => {
    expect(new Variables({ LOCK_ADAPTER: ' redis\n' }).read(['LOCK_ADAPTER'])).toEqual({
      name: 'LOCK_ADAPTER',
      value: 'redis',
    })
  })

  test('says under which of several names it was found', () => {
    expect(new Variables({ B: 'x' }).read(['A', 'B'])).toEqual({ name: 'B', value: 'x' })
    expect(new Variables({ A: ' ', B: 'x' }).read(['A', 'B'])).toEqual({ name: 'B', value: 'x' })
  })

  test('prefers the first of two names with one value', () => {
    expect(new Variables({ B: 'x', A: 'x' }).read(['A', 'B'])).toEqual({ name: 'A', value: 'x' })
  })

  test('refuses two names with different values, names both, and masks passwords', () => {
    const env = { CACHE_ADAPTER_REDIS_URL: 'redis://:hunter2@a', CACHE_REDIS_URL: 'redis://:hunter3@b' }
    const read = (): unknown => new Variables(env).read(['CACHE_ADAPTER_REDIS_URL', 'CACHE_REDIS_URL'])
    expect(read).toThrow(
      expect.objectContaining({
        code: 'MISCONFIGURED',
        details: { variables: ['CACHE_ADAPTER_REDIS_URL', 'CACHE_REDIS_URL'] },
      }),
    )
    expect(read).toThrow(
      'CACHE_ADAPTER_REDIS_URL=redis://:***@a and CACHE_REDIS_URL=redis://:***@b contradict each other',
    )
  })

  test('shows the whole name of a package in a contradiction', () => {
    const env = { LOCK_ADAPTER: '@acme/lock-etcd', LOCK_ADAPTER_DEFAULT: 'redis' }
    expect(() => new Variables(env).read(['LOCK_ADAPTER', 'LOCK_ADAPTER_DEFAULT'])).toThrow(
      'LOCK_ADAPTER=@acme/lock-etcd and LOCK_ADAPTER_DEFAULT=redis contradict',
    )
  })

  test('reads a prefixed name first, and the plain one where there is none', () => {
    const env = { SHOP_LOCK_ADAPTER: 'redis', LOCK_ADAPTER: 'memory', CLUSTER_NAME: 'all' }
    const variables = new Variables(env, 'SHOP_')
    expect(variables.read(['LOCK_ADAPTER'])).toEqual({ name: 'SHOP_LOCK_ADAPTER', value: 'redis' })
    expect(variables.read(['CLUSTER_NAME'])).toEqual({ name: 'CLUSTER_NAME', value: 'all' })
  })

  test('lets a prefixed alias win over a plain preferred name', () => {
    const env = { SHOP_LOCK_ADAPTER_DEFAULT: 'redis', LOCK_ADAPTER: 'memory' }
    expect(new Variables(env, 'SHOP_').read(['LOCK_ADAPTER', 'LOCK_ADAPTER_DEFAULT'])?.value).toBe('redis')
  })

  test('does not look at prefixed names without being told the prefix', () => {
    expect(new Variables({ SHOP_LOCK_ADAPTER: 'redis' }).read(['LOCK_ADAPTER'])).toBeUndefined()
  })

  test('finds a contradiction among prefixed names too', () => {
    const env = { SHOP_A: '1', SHOP_B: '2' }
    expect(() => new Variables(env, 'SHOP_').read(['A', 'B'])).toThrow('SHOP_A=1 and SHOP_B=2 contradict')
  })
})

describe('Variables.namesLike', () => {
  const pattern = /^LOCK_ADAPTER_([A-Z]+)_URL$/
  const backends = (env: Record<string, string>, prefix?: string): (string | undefined)[] =>
    new Variables(env, prefix).namesLike(pattern).map((match) => match[1])

  test('finds what matches and is not blank', () => {
    expect(
      backends({ LOCK_ADAPTER_REDIS_URL: 'x', LOCK_ADAPTER_ETCD_URL: ' ', LOCK_ADAPTER: 'redis' }),
    ).toEqual(['REDIS'])
  })

  test('takes the prefixed ones alone where there are some', () => {
    const env = { SHOP_LOCK_ADAPTER_REDIS_URL: 'x', LOCK_ADAPTER_ETCD_URL: 'y' }
    expect(backends(env, 'SHOP_')).toEqual(['REDIS'])
    expect(backends({ LOCK_ADAPTER_ETCD_URL: 'y' }, 'SHOP_')).toEqual(['ETCD'])
    expect(backends(env)).toEqual(['ETCD'])
  })
})

import { describe, expect, test } from 'vitest'
import { chooseAddress } from '../../src/registry/choose-address.ts'
import { type CapabilityName, capabilityNames } from '../../src/registry/capability-name.ts'
import { type Environment, Variables } from '../../src/registry/variables.ts'

function addressOf(
  capability: CapabilityName,
  backend: string,
  env: Environment,
  prefix?: string,
): ReturnType<typeof chooseAddress> {
  return chooseAddress(capability, backend, new Variables(env, prefix))
}

function rabbitmqUrl(env: Environment): string | undefined {
  return addressOf('queue', 'rabbitmq', env)?.url
}

describe('chooseAddress', () => {
  test.each(capabilityNames)('for %s: own variable, shared one, default', (capability) => {
    const own = `${capability.toUpperCase()}_ADAPTER_REDIS_URL`
    expect(addressOf(capability, 'redis', { [own]: 'redis://own', REDIS_URL: 'redis://all' })).toEqual({
      url: 'redis://own',
      source: own,
      isDefault: false,
    })
    expect(addressOf(capability, 'redis', { REDIS_URL: 'redis://all' })).toEqual({
      url: 'redis://all',
      source: 'REDIS_URL',
      isDefault: false,
    })
    expect(addressOf(capability, 'redis', { [own]: '', REDIS_URL: ' ' })).toEqual({
      url: 'redis://localhost:6379/0',
      source: 'the default of redis',
      isDefault: true,
    })
  })

  test('CACHE_REDIS_URL is the address of the cache, and of nothing else', () => {
    const env = { CACHE_REDIS_URL: 'redis://cache' }
    expect(addressOf('cache', 'redis', env)).toMatchObject({
      url: 'redis://cache',
      source: 'CACHE_REDIS_URL',
    })
    expect(addressOf('lock', 'redis', env)?.isDefault).toBe(true)
  })

  test('the address of one backend is not that of another', () => {
    const env = { QUEUE_ADAPTER_RABBITMQ_URL: 'amqp://a', RABBITMQ_URL: 'amqp://b' }
    expect(addressOf('queue', 'redis', env)?.isDefault).toBe(true)
    expect(addressOf('queue', 'rabbitmq', env)?.url).toBe('amqp://a')
  })

  test('reads prefixed variables first', () => {
    const env = { SHOP_REDIS_URL: 'redis://shop', REDIS_URL: 'redis://all' }
    expect(addressOf('lock', 'redis', env, 'SHOP_')).toMatchObject({
      url: 'redis://shop',
      source: 'SHOP_REDIS_URL',
    })
  })

  test("a third party's backend has variables of its own name and no default", () => {
    expect(addressOf('lock', 'etcd', {})).toBeUndefined()
    expect(addressOf('lock', 'etcd', { ETCD_URL: 'etcd://a' })?.url).toBe('etcd://a')
    expect(addressOf('lock', 'etcd', { LOCK_ADAPTER_ETCD_URL: 'etcd://b', ETCD_URL: 'etcd://a' })?.url).toBe(
      'etcd://b',
    )
  })
})

describe('the address of RabbitMQ', () => {
  test.each<readonly [string, Environment, string]>([
    ['nothing', {}, 'amqp://guest:guest@localhost:5672'],
    ['a URL', { RABBITMQ_URL: 'amqps://a:1/v' }, 'amqps://a:1/v'],
    ['a host', { RABBITMQ_HOST: 'mq' }, 'amqp://guest:guest@mq:5672/%2F'],
    ['a host and a port', { RABBITMQ_HOST: 'mq', RABBITMQ_PORT: '5673' }, 'amqp://guest:guest@mq:5673/%2F'],
    ['an IPv6 host', { RABBITMQ_HOST: '[::1]' }, 'amqp://guest:guest@[::1]:5672/%2F'],
    [
      'all five, with characters that a URL must escape',
      {
        RABBITMQ_HOST: 'mq',
        RABBITMQ_PORT: '5673',
        RABBITMQ_USER: 'a:b',
        RABBITMQ_PWD: 'p@ss/w%rd',
        RABBITMQ_VHOST: '/shop',
      },
      'amqp://a%3Ab:p%40ss%2Fw%25rd@mq:5673/%2Fshop',
    ],
  ])('from %s', (_, env, url) => {
    expect(rabbitmqUrl(env)).toBe(url)
  })

  test('names RABBITMQ_HOST as its source', () => {
    expect(addressOf('queue', 'rabbitmq', { RABBITMQ_HOST: 'mq' })).toMatchObject({
      source: 'RABBITMQ_HOST',
      isDefault: false,
    })
  })

  test.each(['0', '65536', '-1', '5672.5', 'amqp', '1e3', '056720'])('refuses the port %j', (port) => {
    const env = { RABBITMQ_HOST: 'mq', RABBITMQ_PORT: port }
    expect(() => rabbitmqUrl(env)).toThrow(
      expect.objectContaining({ code: 'MISCONFIGURED', details: { variable: 'RABBITMQ_PORT' } }),
    )
    expect(() => rabbitmqUrl(env)).toThrow(`RABBITMQ_PORT=${port} is no port: give a number from 1 to 65535`)
  })

  test.each(['1', '65535'])('accepts the port %s', (port) => {
    expect(rabbitmqUrl({ RABBITMQ_HOST: 'mq', RABBITMQ_PORT: port })).toContain(`@mq:${port}/`)
  })

  test('refuses a whole address as its host, without showing the password', () => {
    const read = (): unknown => rabbitmqUrl({ RABBITMQ_HOST: 'amqp://app:hunter2@mq' })
    expect(read).toThrow(
      expect.objectContaining({ code: 'MISCONFIGURED', details: { variable: 'RABBITMQ_HOST' } }),
    )
    expect(read).toThrow('RABBITMQ_HOST=amqp://app:***@mq is no host name')
  })

  test('refuses URL and host together', () => {
    const env = { RABBITMQ_URL: 'amqp://a', RABBITMQ_HOST: 'a' }
    expect(() => rabbitmqUrl(env)).toThrow(
      expect.objectContaining({
        code: 'MISCONFIGURED',
        details: { variables: ['RABBITMQ_URL', 'RABBITMQ_HOST'] },
      }),
    )
  })

  test.each(['RABBITMQ_PORT', 'RABBITMQ_USER', 'RABBITMQ_PWD', 'RABBITMQ_VHOST'])(
    'refuses %s without a host, instead of passing it over',
    (name) => {
      const secret = 'hunter2'
      expect(() => rabbitmqUrl({ [name]: secret })).toThrow(
        expect.objectContaining({
          code: 'MISCONFIGURED',
          details: { variable: name },
          message: `${name} is set without RABBITMQ_HOST: name the server, or give the whole address as RABBITMQ_URL.`,
        }),
      )
    },
  )

  test.each(['RABBITMQ_PORT', 'RABBITMQ_USER', 'RABBITMQ_PWD', 'RABBITMQ_VHOST'])(
    'refuses %s besides a URL, instead of passing it over',
    (name) => {
      expect(() => rabbitmqUrl({ RABBITMQ_URL: 'amqp://a', [name]: '1' })).toThrow(
        expect.objectContaining({ code: 'MISCONFIGURED', details: { variables: ['RABBITMQ_URL', name] } }),
      )
    },
  )

  test.each<readonly [string, Environment, string]>([
    [
      'a URL, whatever is said without',
      { SHOP_RABBITMQ_URL: 'amqp://shop', RABBITMQ_HOST: 'a', RABBITMQ_USER: 'u' },
      'amqp://shop',
    ],
    [
      'a host, whatever URL is said without',
      { SHOP_RABBITMQ_HOST: 'shop', RABBITMQ_URL: 'amqp://a' },
      'amqp://guest:guest@shop:5672/%2F',
    ],
    [
      'a user for a host without',
      { SHOP_RABBITMQ_USER: 'u', RABBITMQ_HOST: 'mq' },
      'amqp://u:guest@mq:5672/%2F',
    ],
  ])('with a prefix, takes %s', (_, env, url) => {
    expect(addressOf('queue', 'rabbitmq', env, 'SHOP_')?.url).toBe(url)
  })

  test('with a prefix, refuses a user besides a URL without', () => {
    const env = { SHOP_RABBITMQ_USER: 'u', RABBITMQ_URL: 'amqp://a' }
    expect(() => addressOf('queue', 'rabbitmq', env, 'SHOP_')).toThrow('RABBITMQ_URL and SHOP_RABBITMQ_USER')
  })

  test('an own address wins, whatever is said for all', () => {
    const env = { QUEUE_ADAPTER_RABBITMQ_URL: 'amqp://own', RABBITMQ_URL: 'amqp://a', RABBITMQ_HOST: 'a' }
    expect(rabbitmqUrl(env)).toBe('amqp://own')
  })
})

import { describe, expect, test } from 'vitest'
import { type CapabilityName, capabilityNames } from '../../src/registry/capability-name.ts'
import { type AdapterChoice, chooseAdapter } from '../../src/registry/choose-adapter.ts'
import { type Plugin, pluginApi } from '../../src/registry/plugin.ts'
import { adapterVariables, type Environment, Variables } from '../../src/registry/variables.ts'

interface Given {
  readonly plugins?: readonly Plugin[]
  readonly installed?: readonly string[]
  readonly prefix?: string
}

function choose(
  capability: CapabilityName,
  env: Environment,
  { plugins = [], installed = [], prefix }: Given = {},
): AdapterChoice {
  return chooseAdapter(capability, {
    variables: new Variables(env, prefix),
    plugins,
    isInstalled: (name) => installed.includes(name),
  })
}

function pluginFor(capability: CapabilityName, backend: string): Plugin {
  return {
    kind: 'multinode-plugin',
    api: pluginApi,
    capability,
    backend,
    options: {},
    create: () => Promise.reject(new Error('is only chosen here')),
  }
}

const everyAdapterVariable = capabilityNames.flatMap((capability) =>
  adapterVariables[capability].map((variable) => ({ capability, variable })),
)
const everyAddressVariable: readonly { capability: CapabilityName; variable: string; backend: string }[] = [
  { capability: 'pubsub', variable: 'PUBSUB_ADAPTER_REDIS_URL', backend: 'redis' },
  { capability: 'pubsub', variable: 'PUBSUB_ADAPTER_RABBITMQ_URL', backend: 'rabbitmq' },
  { capability: 'queue', variable: 'QUEUE_ADAPTER_REDIS_URL', backend: 'redis' },
  { capability: 'queue', variable: 'QUEUE_ADAPTER_RABBITMQ_URL', backend: 'rabbitmq' },
  { capability: 'lock', variable: 'LOCK_ADAPTER_REDIS_URL', backend: 'redis' },
  { capability: 'lock', variable: 'LOCK_ADAPTER_ETCD_URL', backend: 'etcd' },
  { capability: 'cache', variable: 'CACHE_ADAPTER_REDIS_URL', backend: 'redis' },
  { capability: 'cache', variable: 'CACHE_REDIS_URL', backend: 'redis' },
  { capability: 'workerid', variable: 'WORKERID_ADAPTER_REDIS_URL', backend: 'redis' },
]

describe('chooseAdapter, with nothing said', () => {
  test.each(capabilityNames)('%s is on memory', (capability) => {
    expect(choose(capability, {})).toMatchObject({
      adapter: 'memory',
      because: 'nothing else was said',
      plugin: undefined,
    })
  })

  test.each(capabilityNames)('%s stays on memory though shared addresses are set', (capability) => {
    const env = { REDIS_URL: 'redis://a', RABBITMQ_URL: 'amqp://b', RABBITMQ_HOST: 'b' }
    expect(choose(capability, env).adapter).toBe('memory')
  })

  test.each(capabilityNames)('%s is not switched by the variables of other capabilities', (capability) => {
    const others = Object.fromEntries(
      [...everyAdapterVariable, ...everyAddressVariable]
        .filter((each) => each.capability !== capability)
        .map(({ variable }) => [variable, 'redis']),
    )
    expect(choose(capability, others).adapter).toBe('memory')
  })
})

describe('chooseAdapter, by the own variable', () => {
  test.each(everyAdapterVariable)(
    '$variable names the adapter of $capability',
    ({ capability, variable }) => {
      expect(choose(capability, { [variable]: 'redis' })).toMatchObject({
        capability,
        adapter: 'redis',
        because: `${variable}=redis`,
      })
    },
  )

  test.each(everyAdapterVariable)('an empty $variable counts as not set', ({ capability, variable }) => {
    expect(choose(capability, { [variable]: ' ', CLUSTER_ADAPTER: 'redis' }).because).toBe(
      'CLUSTER_ADAPTER=redis',
    )
  })

  test.each(everyAdapterVariable)(
    'SHOP_$variable is read first with envPrefix',
    ({ capability, variable }) => {
      const env = { [`SHOP_${variable}`]: 'redis', [variable]: 'memory' }
      expect(choose(capability, env, { prefix: 'SHOP_' }).because).toBe(`SHOP_${variable}=redis`)
    },
  )

  test.each([
    ['lock', 'LOCK_ADAPTER', 'LOCK_ADAPTER_DEFAULT'],
    ['cache', 'CACHE_ADAPTER', 'CACHE_DEFAULT_STORE'],
  ] as const)('of %s, %s and %s with different values contradict each other', (capability, one, other) => {
    expect(choose(capability, { [one]: 'redis', [other]: 'redis' }).because).toBe(`${one}=redis`)
    expect(() => choose(capability, { [one]: 'redis', [other]: 'memory' })).toThrow(
      `${one}=redis and ${other}=memory contradict each other`,
    )
  })

  test('an address given there by mistake does not show its password', () => {
    expect(choose('lock', { LOCK_ADAPTER: 'redis://:hunter2@db' }).because).toBe(
      'LOCK_ADAPTER=redis://:***@db',
    )
  })
})

describe('chooseAdapter, by the own address', () => {
  test.each(everyAddressVariable)('$variable alone puts $capability on $backend', (each) => {
    expect(choose(each.capability, { [each.variable]: 'redis://a' })).toMatchObject({
      adapter: each.backend,
      because: `${each.variable} is set`,
    })
  })

  test.each(everyAddressVariable)('an empty $variable chooses nothing', ({ capability, variable }) => {
    expect(choose(capability, { [variable]: '' }).adapter).toBe('memory')
  })

  test.each(['pubsub', 'queue'] as const)('two backends of %s contradict each other', (capability) => {
    const name = capability.toUpperCase()
    const env = { [`${name}_ADAPTER_REDIS_URL`]: 'redis://a', [`${name}_ADAPTER_RABBITMQ_URL`]: 'amqp://b' }
    expect(() => choose(capability, env)).toThrow(
      expect.objectContaining({
        code: 'MISCONFIGURED',
        capability,
        details: { backends: ['redis', 'rabbitmq'] },
      }),
    )
    expect(() => choose(capability, env)).toThrow(`set ${name}_ADAPTER to one of them`)
    expect(choose(capability, { ...env, [`${name}_ADAPTER`]: 'rabbitmq' }).adapter).toBe('rabbitmq')
  })

  test('both names of the cache address with different values contradict each other', () => {
    const env = { CACHE_ADAPTER_REDIS_URL: 'redis://a', CACHE_REDIS_URL: 'redis://b' }
    expect(() => choose('cache', env)).toThrow('contradict each other')
  })

  test('with envPrefix, an address of another app on the same machine does not interfere', () => {
    const env = { SHOP_LOCK_ADAPTER_REDIS_URL: 'redis://a', LOCK_ADAPTER_ETCD_URL: 'etcd://b' }
    expect(choose('lock', env, { prefix: 'SHOP_' })).toMatchObject({
      adapter: 'redis',
      because: 'SHOP_LOCK_ADAPTER_REDIS_URL is set',
    })
  })
})

describe('chooseAdapter, in order of precedence', () => {
  test.each(capabilityNames)(
    'for %s: own variable, own address, CLUSTER_ADAPTER, code, memory',
    (capability) => {
      const name = capability.toUpperCase()
      const plugins = [pluginFor(capability, 'code')]
      const env: Record<string, string> = {
        [`${name}_ADAPTER`]: 'one',
        [`${name}_ADAPTER_TWO_URL`]: 'two://a',
        CLUSTER_ADAPTER: 'three',
      }
      const chosen = (given?: Given): string => choose(capability, env, given).adapter
      const order = [chosen({ plugins })]
      for (const variable of Object.keys(env)) {
        delete env[variable]
        order.push(chosen({ plugins }))
      }
      expect([...order, chosen()]).toEqual(['one', 'two', 'three', 'code', 'memory'])
    },
  )

  test.each(capabilityNames)('CLUSTER_ADAPTER names the adapter of %s', (capability) => {
    expect(choose(capability, { CLUSTER_ADAPTER: 'redis' })).toMatchObject({
      adapter: 'redis',
      because: 'CLUSTER_ADAPTER=redis',
    })
  })

  test.each(capabilityNames)('memory named for %s wins over CLUSTER_ADAPTER', (capability) => {
    const env = { [`${capability.toUpperCase()}_ADAPTER`]: 'memory', CLUSTER_ADAPTER: 'redis' }
    expect(choose(capability, env)).toMatchObject({ adapter: 'memory' })
  })
})

describe('chooseAdapter, with plugins given in code', () => {
  test.each(capabilityNames)('takes the only one for %s and ignores those for others', (capability) => {
    const plugins = capabilityNames.map((name) => pluginFor(name, `${name}code`))
    const choice = choose(capability, {}, { plugins })
    expect(choice).toMatchObject({
      adapter: `${capability}code`,
      because: 'the plugin given in code',
    })
    expect(choice.plugin).toBe(plugins.find((plugin) => plugin.capability === capability))
  })

  test.each(capabilityNames)('refuses two for %s where nothing chooses', (capability) => {
    const plugins = [pluginFor(capability, 'redis'), pluginFor(capability, 'etcd')]
    const { [0]: variable } = adapterVariables[capability]
    expect(() => choose(capability, {}, { plugins })).toThrow(
      expect.objectContaining({
        code: 'MISCONFIGURED',
        capability,
        details: { backends: ['redis', 'etcd'] },
      }),
    )
    expect(() => choose(capability, {}, { plugins })).toThrow(`set ${variable} to one of them`)
  })

  test.each(capabilityNames)('lets each kind of variable choose among two for %s', (capability) => {
    const [redis, etcd] = [pluginFor(capability, 'redis'), pluginFor(capability, 'etcd')]
    const name = capability.toUpperCase()
    const by = (env: Environment): Plugin | undefined =>
      choose(capability, env, { plugins: [redis, etcd] }).plugin
    expect(by({ [`${name}_ADAPTER`]: 'etcd' })).toBe(etcd)
    expect(by({ [`${name}_ADAPTER_ETCD_URL`]: 'etcd://a' })).toBe(etcd)
    expect(by({ CLUSTER_ADAPTER: 'redis' })).toBe(redis)
  })

  test('the environment may choose none of them', () => {
    const plugins = [pluginFor('lock', 'redis')]
    expect(choose('lock', { LOCK_ADAPTER: '@acme/lock-etcd' }, { plugins })).toMatchObject({
      adapter: '@acme/lock-etcd',
      plugin: undefined,
    })
    expect(choose('lock', { LOCK_ADAPTER: 'memory' }, { plugins })).toMatchObject({
      adapter: 'memory',
      plugin: undefined,
    })
  })
})

describe('chooseAdapter, the exception for worker ids', () => {
  const installed = ['@multinode/workerid-redis']
  const env = { REDIS_URL: 'redis://a' }

  test('REDIS_URL with @multinode/workerid-redis installed puts worker ids on Redis', () => {
    expect(choose('workerid', env, { installed })).toMatchObject({
      adapter: 'redis',
      because: 'REDIS_URL is set and @multinode/workerid-redis is installed',
    })
    expect(
      choose('workerid', { SHOP_REDIS_URL: 'redis://a' }, { installed, prefix: 'SHOP_' }).because,
    ).toContain('SHOP_REDIS_URL')
  })

  test('not without the package, not without the address', () => {
    expect(choose('workerid', env).adapter).toBe('memory')
    expect(choose('workerid', {}, { installed }).adapter).toBe('memory')
    expect(choose('workerid', { REDIS_URL: '' }, { installed }).adapter).toBe('memory')
  })

  test('everything else comes before it', () => {
    expect(choose('workerid', { ...env, WORKERID_ADAPTER: 'memory' }, { installed }).adapter).toBe('memory')
    expect(choose('workerid', { ...env, CLUSTER_ADAPTER: 'memory' }, { installed }).adapter).toBe('memory')
    const plugins = [pluginFor('workerid', 'etcd')]
    expect(choose('workerid', env, { installed, plugins }).adapter).toBe('etcd')
  })

  test.each(['pubsub', 'queue', 'lock', 'cache'] as const)('does not hold for %s', (capability) => {
    const both = [...installed, `@multinode/${capability}-redis`]
    expect(choose(capability, env, { installed: both }).adapter).toBe('memory')
  })
})

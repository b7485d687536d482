import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { createCluster, type LockPlugin, MultinodeError } from '../../src/index.ts'
import { ManualClock } from '../../src/testing/index.ts'
import { CountingBackend } from '../support/counting-backend.ts'
import { HostFolder, pluginSource } from '../support/host-folder.ts'
import { failureOf, Later, never, turn, watch } from '../support/outcome.ts'
import { Warnings } from '../support/warnings.ts'

const host = new HostFolder()
afterAll(() => host[Symbol.dispose]())
// Warnings of the process come a turn later: not in the next test.
afterEach(turn)

host.install(
  '@multinode/lock-counting',
  { type: 'module', exports: './index.js' },
  {
    'index.js': `export default ${pluginSource({ backend: 'counting' })}`,
  },
)
host.install(
  '@acme/lock-lame',
  { type: 'module', exports: './index.js' },
  {
    'index.js': `export default ${pluginSource({ backend: 'lame', verbs: ['acquire', 'extend', 'ping', 'close'] })}`,
  },
)
const main = host.write('main.js', '')

describe('createCluster, with nothing said', () => {
  test('is one node on memory, without a warning', async () => {
    using warnings = new Warnings()
    await using cluster = await createCluster({ env: {}, nodeId: 'n1' })
    expect(cluster.describe()).toEqual({
      clusterName: 'app',
      nodeId: 'n1',
      incarnation: expect.stringMatching(/^[0-9a-f]{16}$/),
      warnings: [],
      capabilities: [
        {
          capability: 'pubsub',
          backend: 'memory',
          from: 'core',
          address: null,
          because: 'nothing else was said',
          addressFrom: null,
          features: { scope: 'process', order: 'total' },
          notes: [],
        },
        {
          capability: 'queue',
          backend: 'memory',
          from: 'core',
          address: null,
          because: 'nothing else was said',
          addressFrom: null,
          features: {
            scope: 'process',
            persistence: 'none',
            delayStepMs: 1,
            lateAfterCrashMs: 0,
            dedupe: true,
            lookup: true,
            progress: true,
            clusterPause: true,
            exactCounts: true,
            maxBytes: 1_048_576,
            maxConcurrency: 1_000,
          },
          notes: [],
        },
        {
          capability: 'lock',
          backend: 'memory',
          from: 'core',
          address: null,
          because: 'nothing else was said',
          addressFrom: null,
          features: { scope: 'process', order: 'fifo' },
          notes: [],
        },
        {
          capability: 'cache',
          backend: 'memory',
          from: 'core',
          address: null,
          because: 'nothing else was said',
          addressFrom: null,
          features: { scope: 'process', forgetsDeletes: false, maxBytes: 8_388_608 },
          notes: [],
        },
        {
          capability: 'workerid',
          backend: 'memory',
          from: 'core',
          address: null,
          because: 'nothing else was said',
          addressFrom: null,
          features: { scope: 'process' },
          notes: [],
        },
      ],
    })
    expect(await cluster.locks.run('key', () => 'value')).toBe('value')
    expect(await warnings.messages()).toEqual([])
  })

  test('REDIS_URL and RABBITMQ_HOST alone switch nothing on', async () => {
    const env = { REDIS_URL: 'redis://a', RABBITMQ_HOST: 'b' }
    await using cluster = await createCluster({ env, capabilities: ['lock'] })
    expect(cluster.describe().capabilities.map(({ backend }) => backend)).toEqual(['memory'])
  })

  test('cluster objects of one name exclude each other, of different names do not', async () => {
    const options = { env: {}, name: 'two-nodes' }
    await using one = await createCluster(options)
    await using two = await createCluster(options)
    await using other = await createCluster({ ...options, name: 'other' })
    await using lease = await one.locks.acquire('key')
    expect(lease.held).toBe(true)
    expect(await two.locks.tryAcquire('key')).toBeNull()
    await using elsewhere = await other.locks.tryAcquire('key')
    expect(elsewhere?.held).toBe(true)
  })

  test('a memory cluster starts afresh when the last object of its name was closed', async () => {
    const options = { env: {}, name: 'afresh' }
    const first = await createCluster(options)
    const token = (await first.locks.acquire('key')).token
    await first.close()
    await using second = await createCluster(options)
    const lease = await second.locks.tryAcquire('key')
    expect(lease?.token).toBeGreaterThan(token)
  })
})

describe('createCluster, by name', () => {
  test('loads an adapter from the host, and tells it its address', async () => {
    await using cluster = await createCluster({
      env: { LOCK_ADAPTER: 'counting', LOCK_ADAPTER_COUNTING_URL: 'counting://app:hunter2@db/0' },
      name: 'shop',
      capabilities: ['lock'],
      resolveFrom: main,
    })
    expect(cluster.describe().capabilities).toMatchObject([
      {
        backend: 'counting',
        from: '@multinode/lock-counting',
        address: 'counting://app:***@db/0',
        because: 'LOCK_ADAPTER=counting',
        addressFrom: 'LOCK_ADAPTER_COUNTING_URL',
      },
    ])
  })

  test.each([
    ['a folder', host.root],
    ['import.meta.url', `file://${main}`],
  ])('resolves from %s', async (_, resolveFrom) => {
    await using cluster = await createCluster({
      env: { CLUSTER_ADAPTER: 'counting' },
      name: 'shop',
      capabilities: ['lock'],
      resolveFrom,
    })
    expect(cluster.describe().capabilities[0]?.because).toBe('CLUSTER_ADAPTER=counting')
  })

  test('reads variables with the prefix first', async () => {
    const env = {
      SHOP_LOCK_ADAPTER: 'memory',
      LOCK_ADAPTER: 'none',
      SHOP_CLUSTER_NAME: 'shop',
      SHOP_NODE_ID: 'n7',
    }
    await using cluster = await createCluster({ env, envPrefix: 'SHOP_', capabilities: ['lock'] })
    expect(cluster.describe()).toMatchObject({ clusterName: 'shop', nodeId: 'n7' })
    expect(cluster.describe().capabilities[0]?.because).toBe('SHOP_LOCK_ADAPTER=memory')
  })

  test.each([
    { LOCK_ADAPTER: '@acme/lock-zookeeper' },
    { CLUSTER_ADAPTER: '@acme/lock-zookeeper' },
    { LOCK_ADAPTER_ZOOKEEPER_URL: 'zookeeper://a' },
  ])('never falls back to memory: %j without the package fails', async (env) => {
    const options = { env, capabilities: ['lock'], resolveFrom: host.root } as const
    await expect(createCluster(options)).rejects.toMatchObject({
      code: 'NOT_FOUND',
      capability: 'lock',
      message: expect.stringMatching(/npm install @\w+\/lock-\w+.*or set LOCK_ADAPTER=memory/),
    })
  })

  test('memory can be named, and needs no package', async () => {
    const env = { LOCK_ADAPTER: 'memory', CLUSTER_ADAPTER: 'redis' }
    await using cluster = await createCluster({ env, capabilities: ['lock'] })
    expect(cluster.describe().capabilities[0]).toMatchObject({
      backend: 'memory',
      because: 'LOCK_ADAPTER=memory',
    })
  })

  test('refuses a driver that lacks verbs of its capability, and closes it', async () => {
    const env = { LOCK_ADAPTER: '@acme/lock-lame' }
    await expect(createCluster({ env, name: 'shop', resolveFrom: main })).rejects.toMatchObject({
      code: 'MISCONFIGURED',
      message: expect.stringContaining('The driver for lock on lame lacks release, cancel'),
    })
  })
})

describe('createCluster, with plugins in code', () => {
  test('gives the plugin what it needs', async () => {
    const backend = new CountingBackend()
    const cluster = await createCluster({
      env: { COUNTING_URL: 'counting://shared' },
      name: 'shop',
      nodeId: 'n1',
      capabilities: ['lock'],
      plugins: [backend.plugin()],
      connectTimeoutMs: 3_000,
      callTimeoutMs: 2_000,
    })
    expect(backend.contexts).toMatchObject([
      {
        node: cluster.node,
        address: { url: 'counting://shared', source: 'COUNTING_URL' },
        callTimeoutMs: 2_000,
      },
    ])
    expect(backend.contexts[0]?.connectTimeoutMs).toBeGreaterThan(2_000)
    expect(backend.contexts[0]?.connectTimeoutMs).toBeLessThanOrEqual(3_000)
    expect(backend.contexts[0]?.signal.aborted).toBe(false)
    expect(cluster.describe().capabilities[0]).toMatchObject({
      from: 'code',
      because: 'the plugin given in code',
      addressFrom: 'COUNTING_URL',
    })
    await cluster.close()
    expect(backend).toMatchObject({ opened: 1, closed: 1 })
  })

  test.each([{ url: 'counting://mine' }, { client: {} }])(
    'takes no address from the environment when %j was given in code',
    async (options) => {
      const backend = new CountingBackend()
      const env = { COUNTING_URL: 'counting://shared' }
      const plugins = [backend.plugin({ options })]
      await using cluster = await createCluster({ env, name: 'shop', capabilities: ['lock'], plugins })
      expect(backend.contexts[0]?.address).toBeUndefined()
      expect(cluster.describe().capabilities[0]?.addressFrom).toBe('code')
    },
  )

  test('the environment may choose memory instead', async () => {
    const backend = new CountingBackend()
    await using cluster = await createCluster({
      env: { LOCK_ADAPTER: 'memory' },
      capabilities: ['lock'],
      plugins: [backend.plugin()],
    })
    expect(cluster.describe().capabilities[0]?.backend).toBe('memory')
    expect(backend.opened).toBe(0)
  })

  test('refuses two for one capability', async () => {
    const { plugin } = { plugin: new CountingBackend().plugin() }
    const plugins = [plugin, { ...plugin, backend: 'other' }]
    await expect(createCluster({ env: {}, plugins })).rejects.toMatchObject({ code: 'MISCONFIGURED' })
    const env = { LOCK_ADAPTER: 'other' }
    await using cluster = await createCluster({ env, name: 'shop', capabilities: ['lock'], plugins })
    expect(cluster.describe().capabilities[0]?.backend).toBe('other')
  })
})

describe('createCluster, and what an operator should know', () => {
  test('warns of the default cluster name on a shared backend, on the process and in describe()', async () => {
    using warnings = new Warnings()
    const plugins = [new CountingBackend().plugin()]
    await using cluster = await createCluster({ env: {}, capabilities: ['lock'], plugins })
    expect(await warnings.messages()).toEqual([expect.stringContaining('CLUSTER_NAME is not set')])
    expect(cluster.describe().warnings).toEqual(await warnings.messages())
  })

  test.each([
    ['the option', { name: 'shop', env: {} }],
    ['the variable', { env: { CLUSTER_NAME: 'shop' } }],
  ])('does not when it was named by %s', async (_, options) => {
    const plugins = [new CountingBackend().plugin()]
    await using cluster = await createCluster({ ...options, capabilities: ['lock'], plugins })
    expect(cluster.describe()).toMatchObject({ clusterName: 'shop', warnings: [] })
  })

  test('warns of a default address, and names the variables for it', async () => {
    using warnings = new Warnings()
    const plugins = [new CountingBackend().plugin({ backend: 'rabbitmq' })]
    await using cluster = await createCluster({ env: {}, name: 'shop', capabilities: ['lock'], plugins })
    expect(await warnings.messages()).toEqual([
      'lock uses the default address amqp://guest:***@localhost:5672: set LOCK_ADAPTER_RABBITMQ_URL or RABBITMQ_URL.',
    ])
    expect(cluster.describe().capabilities[0]).toMatchObject({
      address: 'amqp://guest:***@localhost:5672',
      addressFrom: 'the default of rabbitmq',
    })
  })

  test('what a plugin warns of is said once per text', async () => {
    using warnings = new Warnings()
    const backend = new CountingBackend()
    const options = { env: {}, name: 'shop', capabilities: ['lock'], plugins: [backend.plugin()] } as const
    await using cluster = await createCluster(options)
    for (let round = 0; round < 3; round += 1) backend.contexts[0]?.warn('persistence is off')
    expect(await warnings.messages()).toEqual(['persistence is off'])
    expect(cluster.describe().warnings).toEqual(['persistence is off'])
  })
})

describe('createCluster, and what the app requires', () => {
  test('starts when the backend guarantees it', async () => {
    const plugins = [new CountingBackend().plugin()]
    const require = { lock: { scope: 'cluster', order: 'fifo' } } as const
    await using cluster = await createCluster({ env: {}, name: 'shop', plugins, require })
    expect(cluster.health().state).toBe('running')
  })

  test('refuses memory, whose scope is the process', async () => {
    const starting = createCluster({ env: {}, require: { lock: { scope: 'cluster' } } })
    await expect(starting).rejects.toMatchObject({
      code: 'MISCONFIGURED',
      capability: 'lock',
      details: { feature: 'scope', wanted: 'cluster', actual: 'process' },
      message: expect.stringMatching(
        /requires lock with scope cluster, but lock on memory has scope process.*LOCK_ADAPTER/,
      ),
    })
  })

  test('refuses a guarantee that the backend does not know, and closes it', async () => {
    const backend = new CountingBackend()
    const options = {
      env: {},
      name: 'shop',
      plugins: [backend.plugin()],
      require: { lock: { durability: 'disk' } },
    }
    await expect(createCluster(options)).rejects.toMatchObject({ code: 'MISCONFIGURED' })
    expect(backend).toMatchObject({ opened: 1, closed: 1 })
    expect(backend.contexts[0]?.signal.aborted).toBe(true)
  })

  test('refuses when the capability is not set up at all', async () => {
    const options = { env: {}, capabilities: [], require: { lock: { scope: 'cluster' } } } as const
    await expect(createCluster(options)).rejects.toThrow('but lock is not set up')
  })
})

describe('createCluster, limited to some capabilities', () => {
  test('sets up only these; another one says how to get it', async () => {
    const backend = new CountingBackend()
    await using cluster = await createCluster({
      env: {},
      capabilities: [],
      plugins: [backend.plugin()],
    })
    expect(backend.opened).toBe(0)
    expect(cluster.stats()).toEqual({
      pubsub: undefined,
      queue: undefined,
      lock: undefined,
      cache: undefined,
      workerid: undefined,
    })
    expect(() => cluster.locks).toThrow(expect.objectContaining({ code: 'UNSUPPORTED', capability: 'lock' }))
    expect(() => cluster.locks).toThrow('createCluster was told capabilities []. Add "lock" there.')
  })

  test('a capability that is named twice is set up once', async () => {
    const backend = new CountingBackend()
    const options = { env: {}, name: 'shop', plugins: [backend.plugin()] }
    await using cluster = await createCluster({ ...options, capabilities: ['lock', 'lock'] })
    expect(cluster.describe().capabilities).toHaveLength(1)
    expect(backend.opened).toBe(1)
  })
})

describe('createCluster, when the start fails', () => {
  test('keeps the typed error of the plugin, and says which capability it was for and why', async () => {
    const cause = new MultinodeError('UNAVAILABLE', 'nobody listens', { outcome: 'not-sent' })
    const plugin = new CountingBackend().plugin({ opening: () => Promise.reject(cause) })
    expect(await failureOf(() => createCluster({ env: {}, plugins: [plugin] }))).toMatchObject({
      code: 'UNAVAILABLE',
      capability: 'lock',
      outcome: 'not-sent',
      message: 'lock on counting (the plugin given in code): nobody listens',
      cause,
    })
  })

  test('wraps any other error, without the secrets in it', async () => {
    const cause = new Error('connect redis://:hunter2@db/0 refused')
    const plugin = new CountingBackend().plugin({ opening: () => Promise.reject(cause) })
    const error = await failureOf(() => createCluster({ env: {}, plugins: [plugin] }))
    expect(error).toMatchObject({
      code: 'INTERNAL',
      capability: 'lock',
      backend: 'counting',
      message:
        'the plugin given in code: lock on counting failed to start: connect redis://:***@db/0 refused',
    })
    expect(error).toHaveProperty('cause', cause)
  })

  test('copes with a plugin that throws before it returns a promise, or returns nothing', async () => {
    const base = new CountingBackend().plugin()
    const throwing: LockPlugin = {
      ...base,
      create: () => {
        throw new Error('at once')
      },
    }
    await expect(createCluster({ env: {}, plugins: [throwing] })).rejects.toThrow('failed to start: at once')
    const lazy = { ...base, create: async () => undefined }
    await expect(
      Promise.resolve(Reflect.apply(createCluster, undefined, [{ env: {}, plugins: [lazy] }])),
    ).rejects.toMatchObject({ code: 'INTERNAL', capability: 'lock' })
  })

  test('rejects after connectTimeoutMs when a plugin never settles, and tells it to stop', async () => {
    const clock = new ManualClock()
    const backend = new CountingBackend()
    const plugins = [backend.plugin({ opening: never })]
    const starting = watch(createCluster({ env: {}, clock, plugins, connectTimeoutMs: 1_000 }))
    await clock.advance(999)
    expect(starting.state).toBe('pending')
    expect(backend.contexts[0]?.signal.aborted).toBe(false)
    await clock.advance(1)
    expect(starting.value).toMatchObject({
      code: 'UNAVAILABLE',
      retryable: true,
      capability: 'lock',
      backend: 'counting',
      message: expect.stringContaining('lock on counting was not ready within 1000 ms (connectTimeoutMs)'),
    })
    expect(backend.contexts[0]?.signal.aborted).toBe(true)
    expect(clock.pendingTimers).toBe(0)
  })

  test('a wall clock that is set during the start does not end it', async () => {
    const clock = new ManualClock()
    const opening = new Later<void>()
    const plugins = [new CountingBackend().plugin({ opening: () => opening.promise })]
    const starting = createCluster({ env: {}, name: 'shop', clock, plugins })
    clock.jumpWallClock(3_600_000)
    opening.resolve()
    await using cluster = await starting
    expect(cluster.health().status).toBe('ok')
  })

  test('closes a driver that arrives after the deadline', async () => {
    const clock = new ManualClock()
    const backend = new CountingBackend()
    const opening = new Later<void>()
    const plugins = [backend.plugin({ opening: () => opening.promise })]
    const starting = watch(createCluster({ env: {}, clock, plugins, connectTimeoutMs: 1_000 }))
    await clock.advance(1_000)
    expect(starting.state).toBe('rejected')
    opening.resolve()
    await turn()
    expect(backend).toMatchObject({ opened: 1, closed: 1 })
    expect(clock.pendingTimers).toBe(0)
  })

  test.each<readonly [string, () => Promise<void>]>([
    ['rejects', () => Promise.reject(new Error('no'))],
    [
      'throws',
      () => {
        throw new Error('no')
      },
    ],
  ])('keeps the reason of the failure when closing %s', async (_, close) => {
    const plugins = [new CountingBackend().plugin({ changes: { close } })]
    const options = { env: {}, name: 'shop', plugins, require: { lock: { scope: 'process' } } } as const
    await expect(createCluster(options)).rejects.toThrow('requires lock with scope process')
  })

  test('settles though the driver that it must close never closes', async () => {
    const clock = new ManualClock()
    const plugins = [new CountingBackend().plugin({ changes: { close: never } })]
    const options = {
      env: {},
      name: 'shop',
      clock,
      plugins,
      require: { lock: { scope: 'process' } },
    } as const
    const starting = watch(createCluster(options))
    await clock.advance(5_000)
    expect(starting.value).toMatchObject({ code: 'MISCONFIGURED' })
    expect(clock.pendingTimers).toBe(0)
  })

  test.each(['ping', 'close', 'acquire', 'extend', 'release', 'cancel', 'features', 'address'] as const)(
    'says so when the driver lacks %s',
    async (missing) => {
      const plugins = [new CountingBackend().plugin({ changes: { [missing]: undefined } })]
      await expect(createCluster({ env: {}, name: 'shop', plugins })).rejects.toMatchObject({
        code: 'MISCONFIGURED',
        message: expect.stringContaining(`lacks ${missing}`),
      })
    },
  )
})

import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Lease } from '@multinode/core'
import {
  figure,
  type RedisServer,
  serversAvailable,
  startCluster,
  startRedis,
  tcpProxy,
  waitUntil,
} from '@multinode/testbed'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { Resource } from './fixtures/resource.ts'
import { type Node, node } from './node.ts'

const faultsMs = figure({ slice: 3_000, full: 30_000 })
const everyMs = 200
const nodeCount = 3
const workersEach = 3
const timeout = 120_000
/** What a push or a release that the fault hits reports is no news here. */
const quiet = { clusterName: 'shop', report: () => {} }

/** What keeps the sections apart. */
type How = 'lock' | 'write lock' | 'nothing'

const tokenKeys = { lock: '{shop:lock:key}:token', 'write lock': '{shop:lock-shared:readwrite:key}:token' }

interface Outcome {
  readonly sections: number
  /** Of the worker that was served least often. */
  readonly fewest: number
  /** Sections during which another one was under way. */
  readonly overlaps: number
  /** Tokens that were not greater than that of the section before. */
  readonly inversions: number
  /** Writes of which the resource knows nothing any more. */
  readonly lostUpdates: number
}

// An unhandled rejection fails the run of vitest.
describe.skipIf(!serversAvailable()).concurrent('nodes that contend for one lock', () => {
  it.for(['lock', 'write lock'] as const)(
    `are never two at a time by a %s, while scripts are flushed and connections killed every ${everyMs} ms`,
    { timeout },
    async (how, { annotate }) => {
      await using server = await startRedis()
      await using bystander = new Bystander(server)
      const outcome = await contend(server.url, how, async (isOver) => {
        while (!isOver()) {
          await breakAll([server])
          await sleep(everyMs)
        }
      })
      await annotate(`${JSON.stringify(outcome)}, bystander ${JSON.stringify(bystander.failures)}`)
      expect(outcome).toMatchObject({ overlaps: 0, inversions: 0, lostUpdates: 0 })
      expect(outcome.fewest).toBeGreaterThan(1)
      expect(await keysOf([server])).toEqual([tokenKeys[how]])
      // The first one does not count.
      expect(bystander.failures.noScript, 'the control: a bare EVALSHA').toBeGreaterThan(1)
      expect(bystander.failures.broken, 'the control: a bare connection').toBeGreaterThan(0)
    },
  )

  it(
    'are never two at a time, while the slot of the lock moves and connections are killed',
    { timeout },
    async ({ annotate }) => {
      await using cluster = await startCluster()
      await using bystander = new Bystander(await cluster.masterOf('{shop:lock:key}:lease'))
      let moves = 0
      const outcome = await contend(cluster.url, 'lock', async (isOver) => {
        for (let target = 0; !isOver() || moves < 3; target += 1) {
          const to = cluster.nodes[target % cluster.nodes.length]
          if (to === undefined) throw new Error('a Cluster without nodes')
          if ((await cluster.masterOf('{shop:lock:key}:lease')) === to) continue
          await cluster.moveSlot('{shop:lock:key}:lease', to, { midway: () => sleep(20) })
          moves += 1
          await breakAll(cluster.nodes)
          await sleep(everyMs)
        }
      })
      await annotate(
        `${JSON.stringify({ moves, ...outcome })}, bystander ${JSON.stringify(bystander.failures)}`,
      )
      expect(outcome).toMatchObject({ overlaps: 0, inversions: 0, lostUpdates: 0 })
      expect(outcome.fewest).toBeGreaterThan(1)
      expect(await keysOf(cluster.nodes)).toEqual([tokenKeys.lock])
      expect(bystander.failures.elsewhere, 'the control: a client of one node').toBeGreaterThan(0)
      expect(bystander.failures.broken, 'the control: a bare connection').toBeGreaterThan(0)
    },
  )

  it('the control: are often two at a time without the lock', async () => {
    await using server = await startRedis()
    const { overlaps, lostUpdates } = await contend(server.url, 'nothing', () => sleep(500))
    expect(overlaps).toBeGreaterThan(0)
    expect(lostUpdates).toBeGreaterThan(0)
  })
})

describe.skipIf(!serversAvailable()).concurrent('run', () => {
  it('leaves no lease behind when the connection breaks as it gives it back: 20 times', async () => {
    await using server = await startRedis()
    await using proxy = await tcpProxy(server.port)
    await using one = await node(`redis://127.0.0.1:${proxy.port}`, { clusterName: 'shop' })
    for (let round = 0; round < 20; round += 1) {
      await one.locks.run(`key-${round}`, () => proxy.reset())
      expect(await server.cli('KEYS', '*:lease')).toEqual([])
    }
  })

  it('keeps its lock by renewal while its connection is killed again and again', async () => {
    await using server = await startRedis()
    const admin = new Redis(server.url)
    // Two thirds of it are what a renewal may be late by.
    const ttlMs = 4_500
    await using one = await node(server.url, quiet)
    const alone = await one.locks.acquire('not renewed', { ttlMs })
    const endsAt = (): Promise<number> => admin.pexpiretime('{shop:lock:key}:lease')
    await one.locks.run(
      'key',
      async (lease) => {
        for (let round = 0; round < 4; round += 1) {
          expect(await admin.call('CLIENT', 'KILL', 'TYPE', 'normal')).toBe(1)
          // Not before: what is renewed after this was renewed on the next connection.
          const before = await endsAt()
          await waitUntil('a renewal', async () => (await endsAt()) > before)
          lease.assertHeld()
        }
      },
      { ttlMs },
    )
    expect(await admin.exists('{shop:lock:key}:lease')).toBe(0)
    expect(alone.held, 'the control').toBe(false)
    admin.disconnect()
  })
})

/** Lets the workers of all nodes go on until the faults are over; each is then served once more. */
async function contend(
  url: string,
  how: How,
  faults: (isOver: () => boolean) => Promise<unknown>,
): Promise<Outcome> {
  await using stack = new AsyncDisposableStack()
  const elsewhere = stack.use(await startRedis())
  const client = stack.adopt(new Redis(elsewhere.url), async (each) => each.disconnect())
  const shared = new Protected(client)
  const nodes: Node[] = []
  for (let index = 0; index < nodeCount; index += 1) nodes.push(stack.use(await node(url, quiet)))
  const options = { ttlMs: 30_000, waitMs: 60_000 }
  let isStopped = false
  let notServed = nodeCount * workersEach
  const work = async ({ locks }: Node): Promise<number> => {
    let served = 0
    for (let isLast = false; !isLast; served += 1) {
      isLast = isStopped
      if (served === 1) notServed -= 1
      if (how === 'lock') await locks.run('key', (lease) => shared.use(lease), options)
      else if (how === 'write lock') await locks.readWrite('key').write((lease) => shared.use(lease), options)
      else await shared.use(undefined)
    }
    return served
  }
  const endsAt = performance.now() + faultsMs
  const workers = nodes.flatMap((each) => Array.from({ length: workersEach }, () => work(each)))
  const working = Promise.all(workers)
  // Whose turn comes late has one under the faults as well.
  const isOver = (): boolean => performance.now() > endsAt && notServed === 0
  await Promise.all([working, faults(isOver).finally(() => (isStopped = true))])
  const served = await working
  const sections = served.reduce((sum, each) => sum + each, 0)
  const { overlaps, inversions } = shared
  const lostUpdates = sections - (await shared.value())
  return { sections, fewest: Math.min(...served), overlaps, inversions, lostUpdates }
}

/** What the lock is for: read, changed and written on a server without faults. It would not survive two at a time. */
class Protected {
  overlaps = 0
  inversions = 0
  readonly #client: Redis
  readonly #resource: Resource
  #lastToken = 0

  constructor(client: Redis) {
    this.#client = client
    this.#resource = new Resource(client)
  }

  async use(lease: Lease | undefined): Promise<void> {
    if ((await this.#client.incr('inside')) > 1) this.overlaps += 1
    if (lease !== undefined && lease.token <= this.#lastToken) this.inversions += 1
    this.#lastToken = lease?.token ?? 0
    const value = await this.value()
    await sleep(2)
    lease?.assertHeld()
    await this.#resource.write(value + 1, undefined)
    await this.#client.decr('inside')
  }

  value(): Promise<number> {
    return this.#resource.read(undefined)
  }
}

/** A bare client of one server, who meets the faults as well: asks again and again, until disposed of. */
class Bystander implements AsyncDisposable {
  readonly failures = { noScript: 0, elsewhere: 0, broken: 0 }
  readonly #client: Redis
  readonly #asking: Promise<void>
  #isStopped = false

  constructor(server: RedisServer) {
    this.#client = new Redis(server.url, { maxRetriesPerRequest: 0, enableOfflineQueue: false })
    this.#client.on('error', () => {})
    this.#client.on('close', () => (this.failures.broken += 1))
    this.#asking = this.#ask()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopped = true
    await this.#asking
    this.#client.disconnect()
  }

  async #ask(): Promise<void> {
    const source = 'return 1'
    const hash = createHash('sha1').update(source).digest('hex')
    for (; !this.#isStopped; await sleep(2)) {
      if (this.#client.status !== 'ready') continue
      await this.#note(() => this.#client.evalsha(hash, 1, '{shop:lock:key}:bystander'))
      await this.#note(() => this.#client.eval(source, 1, '{shop:lock:key}:bystander'))
    }
  }

  async #note(work: () => Promise<unknown>): Promise<void> {
    try {
      await work()
    } catch (error) {
      const reason = String(error)
      if (reason.includes('NOSCRIPT')) this.failures.noScript += 1
      if (/MOVED|ASK|TRYAGAIN/.test(reason)) this.failures.elsewhere += 1
    }
  }
}

/** Scripts are forgotten, and all connections closed, of clients as of subscribers. */
async function breakAll(servers: readonly RedisServer[]): Promise<void> {
  for (const server of servers) {
    await server.cli('SCRIPT', 'FLUSH')
    await server.cli('CLIENT', 'KILL', 'TYPE', 'normal')
    await server.cli('CLIENT', 'KILL', 'TYPE', 'pubsub')
  }
}

async function keysOf(servers: readonly RedisServer[]): Promise<string[]> {
  const keys: string[] = []
  for (const server of servers) {
    const found = await server.cli('KEYS', '*')
    if (Array.isArray(found)) keys.push(...found.map(String))
  }
  return keys
}

import { setTimeout as sleep } from 'node:timers/promises'
import { isMultinodeError } from '@multinode/core'
import {
  figure,
  type RedisServer,
  seededRandom,
  serversAvailable,
  startRedis,
  stolenMs,
  type TcpProxy,
  tcpProxy,
  waitUntil,
  withLateness,
} from '@multinode/testbed'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { duplicatesAmong, gently, IdMaker } from './id-maker.ts'
import { quiet, table, type WorkerNode, workerNode } from './worker-node.ts'

const terms = { leaseMs: 1_500, quarantineMs: 500, maxSkewMs: 500, maxAheadMs: 500, isFirstStart: true }
const onlyOne = { ...terms, range: 1 }
const timeout = 180_000
/** Room for a machine that does other things as well. */
const lateMs = 1_000

interface Place extends AsyncDisposable {
  readonly server: RedisServer
  readonly proxy: TcpProxy
  /** Through the proxy. */
  readonly node: WorkerNode
}

async function startPlace(callTimeoutMs = 2_000): Promise<Place> {
  await using started = new AsyncDisposableStack()
  const server = started.use(await startRedis())
  const proxy = started.use(await tcpProxy(server.port))
  const url = `redis://127.0.0.1:${proxy.port}`
  const node = started.use(await workerNode(url, { ...quiet, callTimeoutMs }))
  // Loads the scripts.
  const lease = await node.workerIds.acquire(terms)
  await waitUntil('a renewal', () => node.workerIds.stats().renewed > 0)
  // Where calls have little time, an answer may be late: that it is carried out is enough.
  await lease[Symbol.asyncDispose]()
  const stack = started.move()
  return { server, proxy, node, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

async function holdersOn(server: RedisServer): Promise<string[]> {
  const reply = await server.cli('HGETALL', table)
  const fields = Array.isArray(reply) ? reply.map(String) : []
  const records = fields.filter((_, index) => index % 2 === 1 && /^\d+$/.test(fields[index - 1] ?? ''))
  return records.flatMap((record) => /\|([0-9a-f]{32})\|/.exec(record)?.[1] ?? [])
}

async function isBack({ node }: Place): Promise<void> {
  await waitUntil('the connection', async () => node.driver.ping(1_000).then(() => true))
}

describe.skipIf(!serversAvailable()).concurrent('when the answer is lost', () => {
  const times = figure({ slice: 20, full: 500 })

  it(
    `to an acquire, it is tried again and answered with the same grant: ${times} times`,
    { timeout },
    async () => {
      await using place = await startPlace()
      const { server, proxy, node } = place
      const before = node.workerIds.stats().acquired
      for (let round = 0; round < times; round += 1) {
        proxy.dropReply()
        const lease = await node.workerIds.acquire({ ...terms, waitMs: 10_000 })
        lease.assertHeld()
        expect(await holdersOn(server)).toEqual([lease.grant.token])
        await lease.release()
        expect(await holdersOn(server)).toEqual([])
      }
      expect(node.workerIds.stats().acquired - before).toBe(times)
      expect(proxy.connections()).toBe(1)
    },
  )

  it('the control: SET NX PX that is tried again has locked itself out', async () => {
    await using server = await startRedis()
    await using proxy = await tcpProxy(server.port)
    const bare = new Redis(proxy.port)
    bare.on('error', () => {})
    await bare.ping()
    proxy.dropReply()
    // ioredis tries again by itself.
    expect(await bare.set('naive', 'mine', 'PX', 60_000, 'NX')).toBeNull()
    expect(await server.cli('GET', 'naive')).toBe('mine')
    bare.disconnect()
  })

  it(
    'to an acquire that is given up, the id is free again after lease and quarantine',
    { timeout },
    async () => {
      await using place = await startPlace()
      const { server, proxy, node } = place
      proxy.dropReply()
      const startedAtMs = performance.now()
      await expect(node.workerIds.acquire({ ...onlyOne, waitMs: 0 })).rejects.toMatchObject({
        outcome: 'unknown',
      })
      expect(await holdersOn(server), 'the control').toHaveLength(1)
      const { result: lease, sumMs } = await withLateness(
        () => server.cli('PING'),
        () => node.workerIds.acquire({ ...onlyOne, waitMs: 20_000 }),
      )
      const waitedMs = performance.now() - startedAtMs
      expect(waitedMs).toBeGreaterThan(terms.leaseMs)
      // It asks each second.
      expect(waitedMs).toBeLessThan(terms.leaseMs + terms.quarantineMs + 1_100 + lateMs + sumMs)
      expect(await holdersOn(server)).toEqual([lease.grant.token])
    },
  )

  it('to renewals, the id stays, with all that was made of it', { timeout }, async () => {
    await using place = await startPlace()
    const { proxy, node } = place
    // Long enough for two attempts that fail, with a second after each.
    await using lease = await node.workerIds.acquire({ ...onlyOne, leaseMs: 4_500 })
    await using maker = new IdMaker(lease.id, lease.claim()).start(gently)
    for (let round = 0; round < figure({ slice: 2, full: 20 }); round += 1) {
      let renewed: number | undefined
      // What is answered has been carried out. The next one may be answered before a test that looks now and then has seen this one.
      proxy.dropReply(() => {
        renewed = node.workerIds.stats().renewed
        return true
      })
      await waitUntil(
        'a renewal that is not answered, and one that is',
        () => renewed !== undefined && node.workerIds.stats().renewed > renewed,
      )
      lease.assertHeld()
    }
    await maker.stop()
    expect(maker.exhausted).toBe(0)
    expect(duplicatesAmong(maker.ids)).toBe(0)
  })

  it(
    `to a release, it is repeated, and the next holder begins above what was used: ${times} times`,
    { timeout },
    async () => {
      await using place = await startPlace()
      const { server, proxy, node } = place
      const makers: IdMaker[] = []
      for (let round = 0; round < times; round += 1) {
        const lease = await node.workerIds.acquire({ ...onlyOne, waitMs: 2_000 })
        const window = lease.claim()
        expect(window.floor()).toBeGreaterThan(makers.at(-1)?.lastMs ?? -1)
        const maker = new IdMaker(lease.id, window)
        maker.makeSome(100)
        makers.push(maker)
        proxy.dropReply()
        await lease.release()
        expect(await holdersOn(server)).toEqual([])
        await isBack(place)
      }
      expect(duplicatesAmong(...makers.map(({ ids }) => ids))).toBe(0)
    },
  )
})

describe.skipIf(!serversAvailable()).concurrent('when answers are late', () => {
  const callTimeoutMs = 300

  it(
    'each call settles by its deadline, and nothing stays for longer than lease and quarantine',
    { timeout },
    async () => {
      await using place = await startPlace(callTimeoutMs)
      const { server, proxy, node } = place
      // Else what comes late is refused for its clock.
      const tolerant = { ...terms, maxSkewMs: 30_000 }
      const held = await node.workerIds.acquire(tolerant)
      proxy.delay(2 * callTimeoutMs)
      const startedAtMs = performance.now()
      const calls = [
        node.workerIds.acquire({ ...tolerant, waitMs: 0 }),
        node.workerIds.acquire({ ...tolerant, waitMs: callTimeoutMs }),
        node.workerIds.holders(),
        held.release(),
      ]
      for (const result of await Promise.allSettled(calls)) {
        expect(result).toMatchObject({ status: 'rejected', reason: { code: 'TIMEOUT', outcome: 'unknown' } })
      }
      expect(performance.now() - startedAtMs).toBeLessThan(1.1 * callTimeoutMs + lateMs + stolenMs())
      await waitUntil(
        'those that were given up to be carried out',
        async () => (await holdersOn(server)).length >= 2,
      )
      proxy.delay(0)
      await isBack(place)
      const nobody = async (): Promise<boolean> => (await node.workerIds.holders()).length === 0
      const backAtMs = performance.now()
      const { sumMs } = await withLateness(
        () => server.cli('PING'),
        () => waitUntil('the end of what was granted', nobody),
      )
      const mostMs = terms.leaseMs + terms.quarantineMs + 2 * callTimeoutMs + lateMs
      expect(performance.now() - backAtMs).toBeLessThan(mostMs + sumMs)
    },
  )

  it(
    'to renewals, ids stop at the ceiling, and go on with the same id once they are in time',
    { timeout },
    async () => {
      await using place = await startPlace(callTimeoutMs)
      const { proxy, node } = place
      const lease = await node.workerIds.acquire(onlyOne)
      const window = lease.claim()
      await using maker = new IdMaker(lease.id, window).start(gently)
      await waitUntil('a renewal', () => node.workerIds.stats().renewed > 1)
      proxy.delay(2 * callTimeoutMs)
      await waitUntil('the loss', () => lease.signal.aborted)
      await waitUntil('the end of its window', () => maker.exhausted > 0)
      expect(maker.lastMs).toBeLessThanOrEqual(window.ceiling())
      const madeBefore = maker.ids.length
      proxy.delay(0)
      await waitUntil('more ids', () => maker.ids.length > madeBefore)
      await maker.stop()
      expect(duplicatesAmong(maker.ids)).toBe(0)
    },
  )
})

describe.skipIf(!serversAvailable()).concurrent('nodes that take ids and give them back', () => {
  const faultsMs = figure({ slice: 3_000, full: 60_000 })

  it(
    'never make one twice, while connections are reset, scripts flushed, and answers lost and late',
    { timeout },
    async ({ annotate }) => {
      const random = seededRandom()
      const nodeCount = 4
      await using stack = new AsyncDisposableStack()
      const server = stack.use(await startRedis())
      const places: { node: WorkerNode; proxy: TcpProxy }[] = []
      for (let index = 0; index < nodeCount; index += 1) {
        const proxy = stack.use(await tcpProxy(server.port))
        const url = `redis://127.0.0.1:${proxy.port}`
        places.push({ proxy, node: stack.use(await workerNode(url, { ...quiet, callTimeoutMs: 400 })) })
      }
      const makers: IdMaker[] = []
      let isOver = false
      let failures = 0
      let broken = 0
      for (const { proxy } of places) {
        const bare = stack.adopt(new Redis(proxy.port), async (each) => each.disconnect())
        bare.on('error', () => {})
        bare.on('close', () => (broken += 1))
      }
      const live = async ({ workerIds }: WorkerNode): Promise<number> => {
        let leases = 0
        const attempt = async (): Promise<void> => {
          try {
            // Fewer ids than nodes: they go from hand to hand.
            const lease = await workerIds.acquire({ ...terms, range: nodeCount - 1, waitMs: 20_000 })
            leases += 1
            const maker = new IdMaker(lease.id, lease.claim()).start(gently)
            makers.push(maker)
            await sleep(random.between(0, 600))
            await lease.release()
            await maker.stop()
          } catch (error) {
            if (!isMultinodeError(error)) throw error
            failures += 1
          }
        }
        while (!isOver) await attempt()
        // Who came to nothing under the faults is served after them.
        if (leases === 0) await attempt()
        return leases
      }
      const faults: ((proxy: TcpProxy) => unknown)[] = [
        (proxy) => proxy.reset(),
        (proxy) => proxy.fin(),
        (proxy) => proxy.dropReply(),
        (proxy) => proxy.delay(random.between(0, 300)),
        (proxy) => proxy.heal(),
        () => server.cli('SCRIPT', 'FLUSH'),
      ]
      const living = Promise.all(places.map(({ node }) => live(node)))
      const endsAtMs = performance.now() + faultsMs
      // Which faults there are is chance: until enough of them have cut something.
      while (performance.now() < endsAtMs || broken <= nodeCount) {
        const place = places[random.between(0, nodeCount - 1)]
        if (place !== undefined) await faults[random.between(0, faults.length - 1)]?.(place.proxy)
        await sleep(50)
      }
      for (const { proxy } of places) proxy.heal()
      isOver = true
      const leases = await living
      const made = makers.reduce((sum, { ids }) => sum + ids.length, 0)
      await annotate(
        `${made} ids of ${leases.join(' + ')} leases, ${failures} calls failed, ${broken} bare connections were lost; seed ${random.seed}`,
      )
      expect(broken, 'the control: bare connections').toBeGreaterThan(nodeCount)
      expect(Math.min(...leases)).toBeGreaterThan(0)
      expect(duplicatesAmong(...makers.map(({ ids }) => ids)), `seed ${random.seed}`).toBe(0)
    },
  )
})

import {
  type RedisServer,
  serversAvailable,
  startCluster,
  startRedis,
  waitUntil,
  Wire,
} from '@multinode/testbed'
import { afterAll, describe, expect, it } from 'vitest'
import { workerNode } from './worker-node.ts'

interface Place extends AsyncDisposable {
  readonly url: string
  readonly nodes: readonly RedisServer[]
}

async function startSingle(): Promise<Place> {
  const server = await startRedis()
  return { url: server.url, nodes: [server], [Symbol.asyncDispose]: () => server.stop() }
}

const few = { range: 4, isFirstStart: true }

describe.skipIf(!serversAvailable()).each([
  ['a single server', startSingle],
  ['a Cluster', startCluster],
])('on %s', async (_, start: () => Promise<Place>) => {
  const place = await start()
  afterAll(() => place[Symbol.asyncDispose]())

  it('an acquisition is one EVALSHA, and so is a release; a second release, and one that is refused, sends nothing more', async () => {
    await using node = await workerNode(place.url)
    await (await node.workerIds.acquire(few)).release()
    await node.workerIds.holders()
    using wire = await Wire.tap(...place.nodes)
    for (let round = 0; round < 10; round += 1) {
      let lease = await node.workerIds.acquire(few)
      await lease.release()
      expect(await wire.namesDuring(async () => (lease = await node.workerIds.acquire(few)))).toEqual([
        'evalsha',
      ])
      expect(await wire.namesDuring(() => lease.release())).toEqual(['evalsha'])
      expect(await wire.namesDuring(() => lease.release())).toEqual([])
    }
    const one = { ...few, range: 1, waitMs: 0 }
    await using _holder = await node.workerIds.acquire(one)
    const refused = (): Promise<unknown> =>
      expect(node.workerIds.acquire(one)).rejects.toMatchObject({ code: 'EXHAUSTED' })
    expect(await wire.namesDuring(refused), 'one more for who has them').toEqual(['evalsha', 'evalsha'])
  })

  it('an id that is held costs one EVALSHA a renewal, whether ids are made of it or not', async () => {
    await using node = await workerNode(place.url)
    // Two thirds of it are what a renewal may be late by.
    await using _first = await node.workerIds.acquire({ ...few, leaseMs: 4_500 })
    await using _second = await node.workerIds.acquire({ ...few, leaseMs: 4_500 })
    const renewed = (): number => node.workerIds.stats().renewed
    await waitUntil('the script to be loaded', () => renewed() > 1)
    using wire = await Wire.tap(...place.nodes)
    const least = { from: 0, to: 0 }
    const before = renewed()
    const sent = await wire.namesDuring(async () => {
      least.from = renewed()
      await waitUntil('renewals', () => renewed() >= least.from + 4)
      least.to = renewed()
    })
    const most = renewed() - before
    expect(new Set(sent)).toEqual(new Set(['evalsha']))
    // Of each holder, one may be under way at the beginning and at the end.
    expect(sent.length).toBeGreaterThanOrEqual(least.to - least.from - 2)
    expect(sent.length).toBeLessThanOrEqual(most + 2)
  })
})

describe.skipIf(!serversAvailable())('on a server', () => {
  it('each script is loaded once, by its first use', async () => {
    await using server = await startRedis()
    await using node = await workerNode(server.url)
    using wire = await Wire.tap(server)
    const use = async (): Promise<void> => {
      const lease = await node.workerIds.acquire(few)
      await node.workerIds.holders()
      await lease.release()
    }
    expect(await wire.namesDuring(use)).toEqual(['evalsha', 'eval', 'evalsha', 'eval', 'evalsha', 'eval'])
    expect(await wire.namesDuring(use)).toEqual(['evalsha', 'evalsha', 'evalsha'])
  })
})

import { pluginContext } from '@multinode/core/testing'
import {
  claimPort,
  type RedisServer,
  serversAvailable,
  startCluster,
  startRedis,
  tcpProxy,
  waitUntil,
} from '@multinode/testbed'
import { afterAll, describe, expect, it } from 'vitest'
import { openRedis, type RedisConnection, RedisScript } from '../src/index.ts'
import { settled } from './settled.ts'

const callMs = 20_000
/** The replica needs less than a millisecond, if nobody stands still meanwhile. */
const one = { replicas: 1, waitMs: 10_000 }
const bump = new RedisScript('bump', "return redis.call('INCR', KEYS[1])")
/** One on each of three masters. */
const keys = ['a', 'b', 'c']

async function open(url: string): Promise<RedisConnection & AsyncDisposable> {
  const share = await openRedis({ url }, pluginContext({ callTimeoutMs: callMs }))
  return Object.assign(share.connection, { [Symbol.asyncDispose]: () => share.release() })
}

async function calls(server: RedisServer, command: string): Promise<number> {
  const stats = String(await server.cli('INFO', 'commandstats'))
  return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0)
}

describe.skipIf(!serversAvailable())('a script with WAIT, on a master with a replica', async () => {
  const master = await startRedis({ args: ['--repl-diskless-sync-delay', '0'] })
  const link = await tcpProxy(master.port)
  const replica = await startRedis()
  await replica.cli('REPLICAOF', '127.0.0.1', String(link.port))
  await waitUntil('the replica to be in step', async () => (await master.cli('WAIT', '1', '100')) === 1)
  afterAll(async () => {
    await Promise.all([master.stop(), replica.stop()])
    await link.close()
  })

  it('says that the replica has its effect, and it has', async () => {
    await using connection = await open(master.url)
    for (let count = 1; count <= 200; count += 1) {
      const result = await connection.replicatedScript(bump, ['key'], [], one, callMs)
      expect(result).toEqual({ reply: count, replicas: 1 })
      expect(await replica.cli('GET', 'key')).toBe(String(count))
    }
  })

  it('takes one round trip more when the server has forgotten it', async () => {
    await using connection = await open(master.url)
    await connection.replicatedScript(bump, ['forgotten'], [], one, callMs)
    await master.cli('SCRIPT', 'FLUSH')
    const { reply, replicas } = await connection.replicatedScript(bump, ['forgotten'], [], one, callMs)
    expect({ reply, replicas }).toEqual({ reply: 2, replicas: 1 })
  })

  it('says after its time that no replica has its effect, and keeps the reply', async () => {
    await using connection = await open(master.url)
    link.blackhole()
    const { value, ms } = await settled(
      connection.replicatedScript(bump, ['cut off'], [], { replicas: 1, waitMs: 200 }, callMs),
    )
    expect(value).toEqual({ reply: 1, replicas: 0 })
    expect(ms).toBeGreaterThan(195)
    expect(await replica.cli('GET', 'cut off')).toBeNull()
    await master.cli('SCRIPT', 'FLUSH')
    const waits = { replicas: 1, waitMs: 3_000 }
    const forgotten = await connection.replicatedScript(bump, ['cut off'], [], waits, 5_500)
    expect(forgotten, 'not twice as long when it was forgotten').toEqual({ reply: 2, replicas: 0 })
    link.heal()
  })

  it('is refused as every script is: by what the script says, not by what WAIT says', async () => {
    await using connection = await open(master.url)
    const broken = new RedisScript('broken', "return redis.call('INCR', KEYS[1], 'too many')")
    const refused = connection.replicatedScript(broken, ['key'], [], one, callMs)
    await expect(refused).rejects.toMatchObject({ code: 'REJECTED' })
    await using asReplica = await open(replica.url)
    const onReplica = asReplica.replicatedScript(bump, ['key'], [], one, callMs)
    await expect(onReplica).rejects.toMatchObject({ code: 'UNAVAILABLE', retryable: true })
  })

  it('may have happened when its server becomes a replica while it waits', async () => {
    await using connection = await open(master.url)
    await connection.replicatedScript(bump, ['key'], [], one, callMs)
    link.blackhole()
    const waiting = settled(connection.replicatedScript(bump, ['demoted'], [], one, callMs))
    await waitUntil('it to wait', async () =>
      String(await master.cli('INFO', 'clients')).includes('blocked_clients:1'),
    )
    const nobody = await claimPort()
    await master.cli('REPLICAOF', '127.0.0.1', String(nobody.port))
    const { error } = await waiting
    expect(error).toMatchObject({ code: 'UNAVAILABLE', retryable: true, outcome: 'unknown' })
    expect(await master.cli('GET', 'demoted'), 'the control: it has').toBe('1')
    await master.cli('REPLICAOF', 'NO', 'ONE')
    nobody.release()
    link.heal()
  })
})

describe.skipIf(!serversAvailable())('a script with WAIT, on a Cluster', async () => {
  const cluster = await startCluster({ masters: 3, replicasEach: 1, nodeTimeoutMs: 10_000 })
  afterAll(() => cluster.stop())

  it('waits at the node that has the key, whatever key it is', async () => {
    await using connection = await open(cluster.url)
    for (const key of keys) {
      const master = await cluster.masterOf(key)
      const before = await calls(master, 'wait')
      for (let count = 1; count <= 20; count += 1) {
        const result = await connection.replicatedScript(bump, [key], [], one, callMs)
        expect(result).toEqual({ reply: count, replicas: 1 })
      }
      // One more with the NOSCRIPT of the first.
      expect(await calls(master, 'wait')).toBe(before + 21)
    }
  })

  it('goes on while its slot is moved, and carries out each of them once', async () => {
    await using connection = await open(cluster.url)
    let count = 0
    let over = false
    const moves = moveThere('busy').finally(() => (over = true))
    while (!over) {
      const { reply, replicas } = await connection.replicatedScript(bump, ['busy'], [], one, callMs)
      expect(replicas).toBe(1)
      count += 1
      expect(reply).toBe(count)
    }
    await moves
    expect(count).toBeGreaterThan(0)
  })

  it('finds a key that is at the new place already, or not anywhere yet, while its slot is moved', async () => {
    await using connection = await open(cluster.url)
    const slotKeys = ['{half}1', '{half}2', '{half}3', '{half}4']
    for (const key of slotKeys) await connection.script(bump, [key], [], callMs)
    const to = await otherMaster('{half}')
    await cluster.moveSlot('{half}', to, {
      midway: async () => {
        for (const key of slotKeys) {
          const result = await connection.replicatedScript(bump, [key], [], one, callMs)
          expect(result).toEqual({ reply: 2, replicas: 1 })
        }
        const result = await connection.replicatedScript(bump, ['{half}new'], [], one, callMs)
        expect(result).toEqual({ reply: 1, replicas: 1 })
        const bare = await connection.client.pipeline().incr('{half}bare').wait(1, 1_000).exec()
        expect(String(bare?.[0]?.[0]), 'the control: ioredis').toContain('ASK ')
      },
    })
    for (const key of slotKeys) {
      expect(await connection.replicatedScript(bump, [key], [], one, callMs)).toEqual({
        reply: 3,
        replicas: 1,
      })
    }
  })

  async function moveThere(key: string): Promise<void> {
    for (let move = 0; move < 3; move += 1) await cluster.moveSlot(key, await otherMaster(key))
  }

  async function otherMaster(key: string): Promise<RedisServer> {
    const owner = await cluster.masterOf(key)
    const masters = await Promise.all([0, 8_000, 16_383].map((slot) => cluster.masterOf(slot)))
    const other = masters.find((server) => server !== owner)
    if (!other) throw new Error('all slots are on one node')
    return other
  }
})

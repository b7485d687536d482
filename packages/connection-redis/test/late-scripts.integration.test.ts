import { type RedisServer, serversAvailable, startCluster, startRedis } from '@multinode/testbed'
import { describe, expect, it } from 'vitest'
import { RedisScript } from '../src/index.ts'
import { callMs, openWith } from './open-with.ts'
import { settled } from './settled.ts'

const count = new RedisScript('count', "return redis.call('INCR', KEYS[1])")
const shortMs = 200

/** What became of it when its time ran out on a server that does not know the script. */
async function runsLate(
  server: RedisServer,
  run: (timeoutMs: number) => Promise<unknown>,
  ping: () => Promise<void>,
): Promise<unknown> {
  await server.cli('SCRIPT', 'FLUSH')
  await server.pause()
  expect((await settled(run(shortMs))).error).toMatchObject({ code: 'TIMEOUT' })
  server.resume()
  // What would be sent because of its answer goes before the second one.
  await ping()
  await ping()
  return server.cli('GET', 'key')
}

describe.skipIf(!serversAvailable())('once the time of a call is over', () => {
  it('a script that the server did not know is not sent', async () => {
    await using server = await startRedis()
    await using opened = await openWith({ url: server.url })
    const { connection } = opened
    const ping = (): Promise<void> => connection.ping(10 * callMs)
    const run = (timeoutMs: number): Promise<unknown> => connection.script(count, ['key'], [], timeoutMs)
    const none = { replicas: 0, waitMs: 1 }
    const replicated = (timeoutMs: number): Promise<unknown> =>
      connection.replicatedScript(count, ['key'], [], none, timeoutMs)
    expect(await runsLate(server, run, ping)).toBe(null)
    expect(await runsLate(server, replicated, ping)).toBe(null)
    const careless = (timeoutMs: number): Promise<unknown> =>
      connection.run('count', timeoutMs, () =>
        connection.client
          .evalsha(count.hash, 1, 'key')
          .catch(() => connection.client.eval(count.source, 1, 'key')),
      )
    expect(await runsLate(server, careless, ping), 'the control').toBe('1')
  })

  it('nothing is sent again that a Cluster refused because it was down; before, it is', async () => {
    await using cluster = await startCluster()
    await using opened = await openWith({ url: cluster.url })
    const { connection } = opened
    const owner = await cluster.masterOf('key')
    const slot = String(await owner.cli('CLUSTER', 'KEYSLOT', 'key'))
    await connection.script(count, ['key'], [], 10 * callMs)
    await owner.cli('CLUSTER', 'DELSLOTS', slot)
    const { error } = await settled(connection.script(count, ['key'], [], shortMs))
    expect(error).toMatchObject({ code: expect.stringMatching(/^(UNAVAILABLE|TIMEOUT)$/) })
    const waiting = connection.script(count, ['key'], [], 20 * callMs)
    await owner.cli('CLUSTER', 'ADDSLOTS', slot)
    expect(await waiting).toBe(2)
  })
})

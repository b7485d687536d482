import { mkdirSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { pluginContext } from '@multinode/core/testing'
import { claimPort, serversAvailable, startRedis, waitUntil } from '@multinode/testbed'
import { Redis } from 'ioredis'
import { afterAll, describe, expect, it } from 'vitest'
import { openRedis, RedisScript } from '../src/index.ts'
import { settled } from './settled.ts'

describe.skipIf(!serversAvailable())('an error reply', async () => {
  const server = await startRedis({ args: ['--enable-debug-command', 'yes'] })
  const share = await openRedis({ url: server.url }, pluginContext())
  const { connection } = share
  afterAll(async () => {
    await share.release()
    await server.stop()
  })
  const run = (name: string, ...args: string[]): Promise<unknown> => connection.command(name, args, 5_000)
  const set = new RedisScript('set', "return redis.call('SET', KEYS[1], 'x')")

  it('of a wrong type is REJECTED, and the connection goes on', async () => {
    await run('SET', 'text', 'x')
    await expect(run('LPUSH', 'text', 'x')).rejects.toMatchObject({
      code: 'REJECTED',
      retryable: false,
      outcome: 'unknown',
      details: { operation: 'LPUSH', address: connection.address },
      cause: { name: 'ReplyError' },
    })
    expect(await run('GET', 'text')).toBe('x')
  })

  it('of an unknown command is UNSUPPORTED, and does not repeat its arguments', async () => {
    const { error } = await settled(run('NOSUCH', 's3cr3t'))
    expect(error).toMatchObject({ code: 'UNSUPPORTED', outcome: 'not-sent' })
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('s3cr3t')
    const bare = await settled(connection.client.call('NOSUCH', 's3cr3t'))
    expect(inspect(bare.error), 'the control').toContain('s3cr3t')
  })

  it('of an unknown command inside a script is UNSUPPORTED', async () => {
    const script = new RedisScript('odd', "return redis.call('NOSUCH')")
    await expect(connection.script(script, [], [], 5_000)).rejects.toMatchObject({ code: 'UNSUPPORTED' })
  })

  it('of a broken script is REJECTED', async () => {
    const script = new RedisScript('broken', 'return return')
    await expect(connection.script(script, [], [], 5_000)).rejects.toMatchObject({ code: 'REJECTED' })
  })

  it('of a full memory is EXHAUSTED, from a command and from a script', async () => {
    await server.cli('CONFIG', 'SET', 'maxmemory', '1')
    await expect(run('SET', 'k', 'v')).rejects.toMatchObject({
      code: 'EXHAUSTED',
      retryable: true,
      outcome: 'not-sent',
    })
    await expect(connection.script(set, ['k'], [], 5_000)).rejects.toMatchObject({ code: 'EXHAUSTED' })
    await server.cli('CONFIG', 'SET', 'maxmemory', '0')
    expect(await run('SET', 'k', 'v')).toBe('OK')
  })

  it('of a replica is UNAVAILABLE, from a command and from a script', async () => {
    const nobody = await claimPort()
    await server.cli('REPLICAOF', '127.0.0.1', String(nobody.port))
    const expected = { code: 'UNAVAILABLE', retryable: true }
    await expect(run('SET', 'k', 'v')).rejects.toMatchObject({ ...expected, outcome: 'not-sent' })
    await expect(connection.script(set, ['k'], [], 5_000)).rejects.toMatchObject(expected)
    await server.cli('REPLICAOF', 'NO', 'ONE')
    nobody.release()
    expect(await run('SET', 'k', 'v')).toBe('OK')
  })

  it('to who waits on a server that becomes a replica is UNAVAILABLE', async () => {
    const link = await connection.duplicate({ blockMs: 10_000 })
    const waiting = settled(link.command('XREAD', ['BLOCK', '10000', 'STREAMS', 'nothing', '$'], 15_000))
    await waitUntil('it to wait', async () =>
      String(await server.cli('INFO', 'clients')).includes('blocked_clients:1'),
    )
    const nobody = await claimPort()
    await server.cli('REPLICAOF', '127.0.0.1', String(nobody.port))
    const { error } = await waiting
    expect(error).toMatchObject({ code: 'UNAVAILABLE', retryable: true })
    expect(String(error), 'the control: it was told so').toContain('UNBLOCKED')
    await server.cli('REPLICAOF', 'NO', 'ONE')
    nobody.release()
    await link.close()
  })

  it('of too few replicas is UNAVAILABLE, from a command and from a script', async () => {
    await server.cli('CONFIG', 'SET', 'min-replicas-to-write', '1')
    const expected = { code: 'UNAVAILABLE', retryable: true }
    await expect(run('SET', 'k', 'v')).rejects.toMatchObject({ ...expected, outcome: 'not-sent' })
    await expect(connection.script(set, ['k'], [], 5_000)).rejects.toMatchObject(expected)
    await server.cli('CONFIG', 'SET', 'min-replicas-to-write', '0')
  })

  it('of a disk that cannot be written is UNAVAILABLE', async () => {
    const inTheWay = join(server.folder, 'dump.rdb')
    mkdirSync(inTheWay)
    await server.cli('CONFIG', 'SET', 'save', '3600 1')
    await server.cli('BGSAVE')
    await waitUntil('the save to fail', async () =>
      String(await server.cli('INFO', 'persistence')).includes('rdb_last_bgsave_status:err'),
    )
    await expect(run('SET', 'k', 'v')).rejects.toMatchObject({ code: 'UNAVAILABLE', outcome: 'not-sent' })
    await server.cli('CONFIG', 'SET', 'save', '')
    rmdirSync(inTheWay)
    expect(await run('SET', 'k', 'v')).toBe('OK')
  })

  it('of a server that a script blocks is UNAVAILABLE', async () => {
    await server.cli('CONFIG', 'SET', 'busy-reply-threshold', '20')
    const endless = new Redis(server.url, { maxRetriesPerRequest: 0 })
    const blocked = settled(endless.eval('while true do end', 0))
    await waitUntil('the server to be blocked', async () =>
      String(await server.cli('PING').catch(String)).includes('BUSY'),
    )
    await expect(run('SET', 'k', 'v')).rejects.toMatchObject({ code: 'UNAVAILABLE', outcome: 'not-sent' })
    await server.cli('SCRIPT', 'KILL')
    expect((await blocked).error).toBeDefined()
    endless.disconnect()
    expect(await run('SET', 'k', 'v')).toBe('OK')
  })

  it('of a forbidden command is MISCONFIGURED; inside a script what came before it may have happened', async () => {
    await server.cli('ACL', 'SETUSER', 'ann', 'on', '>pw', '~*', '+@all', '-set', '-lpush')
    const url = server.url.replace('//', '//ann:pw@')
    const ann = await openRedis({ url }, pluginContext())
    const command = ann.connection.command('SET', ['k', 'v'], 5_000)
    await expect(command).rejects.toMatchObject({ code: 'MISCONFIGURED', outcome: 'not-sent' })
    const both = "redis.call('INCR', KEYS[1]) return redis.call('LPUSH', KEYS[2], 'x')"
    const script = ann.connection.script(new RedisScript('both', both), ['counted', 'list'], [], 5_000)
    await expect(script).rejects.toMatchObject({ code: 'MISCONFIGURED', outcome: 'unknown' })
    expect(await run('GET', 'counted')).toBe('1')
    await ann.release()
  })

  it('to the login while reconnecting keeps the connection down, rather than on another database', async () => {
    await server.cli('ACL', 'SETUSER', 'bob', 'on', '>pw', '~*', '+@all')
    const url = `${server.url.replace('//', '//bob:pw@').slice(0, -1)}3`
    const bob = await openRedis({ url }, pluginContext())
    const bare = new Redis(url, { retryStrategy: () => 20 })
    bare.on('error', () => {})
    await bare.ping()
    await server.cli('ACL', 'SETUSER', 'bob', '-select')
    await server.cli('CLIENT', 'KILL', 'USER', 'bob')
    const isDown = async (): Promise<boolean> => {
      const { error } = await settled(bob.connection.command('SET', ['where', 'ours'], 1_000))
      return /NOPERM .* has no permissions to run the 'select' command/.test(String(error))
    }
    await waitUntil('the reason to be told', isDown)
    await waitUntil('the bare client to go on', () => bare.set('where', 'bare'))
    expect(await server.cli('GET', 'where'), 'the control: ioredis writes to database 0').toBe('bare')
    bare.disconnect()
    await server.cli('ACL', 'SETUSER', 'bob', '+select')
    await waitUntil('ours to work again', () => bob.connection.command('SET', ['where', 'ours'], 1_000))
    expect(await run('GET', 'where')).toBe('bare')
    await bob.release()
  })
})

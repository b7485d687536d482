import { fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { Worker } from 'node:worker_threads'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { processState, serversAvailable, spawnNode, startRedis, waitUntil } from '../src/index.ts'
import { sweepTemporaryFolders } from '../src/temp-folder.ts'

describe.skipIf(!serversAvailable())('startRedis', () => {
  it('starts an empty Redis that answers on its url', async () => {
    await using redis = await startRedis()
    const client = new Redis(redis.url)
    expect(await client.dbsize()).toBe(0)
    client.disconnect()
  })

  it('listens on loopback only', async () => {
    await using redis = await startRedis()
    expect(await redis.cli('CONFIG', 'GET', 'bind')).toEqual(['bind', '127.0.0.1'])
  })

  it('runs several at once, each with its own data', async () => {
    await using one = await startRedis()
    await using two = await startRedis()
    await one.cli('SET', 'who', 'one')
    await two.cli('SET', 'who', 'two')
    expect(await one.cli('GET', 'who')).toBe('one')
  })

  it('keeps every write over kill -9 and restart with the append-only file', async () => {
    await using redis = await startRedis({ aof: true })
    const pid = redis.pid
    for (let i = 0; i < 100; i++) await redis.cli('RPUSH', 'list', String(i))
    expect(await redis.kill('SIGKILL')).toEqual({ code: null, signal: 'SIGKILL' })
    await redis.restart()
    expect(redis.pid).not.toBe(pid)
    expect(await redis.cli('LLEN', 'list')).toBe(100)
  })

  it('forgets everything over kill -9 and restart without it', async () => {
    await using redis = await startRedis()
    await redis.cli('SET', 'key', 'value')
    await redis.kill()
    await redis.restart()
    expect(await redis.cli('DBSIZE')).toBe(0)
  })

  it('restarts a running server on the same port', async () => {
    await using redis = await startRedis({ aof: true })
    await redis.cli('SET', 'key', 'value')
    await redis.restart()
    expect(await redis.cli('GET', 'key')).toBe('value')
  })

  it('answers nothing while paused, and everything after resume', async () => {
    await using redis = await startRedis()
    const client = new Redis(redis.url)
    await client.ping()
    await redis.pause()
    let answered = false
    const reply = client.ping().finally(() => (answered = true))
    await expect(waitUntil('an answer', () => answered, { deadlineMs: 200 })).rejects.toThrow('200 ms')
    redis.resume()
    expect(await reply).toBe('PONG')
    client.disconnect()
  })

  it('asks for the password, which the url holds', async () => {
    await using redis = await startRedis({ password: 'se:cr@t/' })
    expect(await redis.cli('PING')).toBe('PONG')
    const stranger = new Redis(redis.port, { enableReadyCheck: false })
    stranger.on('error', () => {})
    await expect(stranger.ping()).rejects.toThrow('NOAUTH')
    stranger.disconnect()
  })

  it('flush empties it', async () => {
    await using redis = await startRedis()
    await redis.cli('SET', 'key', 'value')
    await redis.flush()
    expect(await redis.cli('DBSIZE')).toBe(0)
  })

  it('passes more arguments on', async () => {
    await using redis = await startRedis({ args: ['--maxmemory', '10mb'] })
    expect(await redis.cli('CONFIG', 'GET', 'maxmemory')).toEqual(['maxmemory', String(10 * 1024 * 1024)])
  })

  it('shows the log and leaves nothing when the server does not come up', async () => {
    await expect(startRedis({ args: ['--no-such-setting', 'x'] })).rejects.toThrow(
      /did not come up; its log ends:[^]*no-such-setting/,
    )
  })

  it('says what to do when a signal is meant for a server that is down', async () => {
    await using redis = await startRedis()
    await redis.kill()
    await expect(redis.pause()).rejects.toThrow('is down; restart() it first')
  })

  it('leaves no process and no folder after stop, also of a paused server and when stopped twice', async () => {
    const redis = await startRedis({ aof: true })
    const { pid, folder } = redis
    await redis.pause()
    await redis.stop()
    await redis.stop()
    expect(processState(pid)).toBe('gone')
    expect(existsSync(folder)).toBe(false)
  })
})

describe.skipIf(!serversAvailable())('a process that started a Redis', () => {
  const driver = new URL('./fixtures/redis-driver.ts', import.meta.url)

  it.each(['SIGINT', 'SIGTERM'] as const)('leaves no server and no folder after %s', async (signal) => {
    await using child = await spawnNode(driver)
    const redis = parse(await child.nextLine())
    expect(await child.kill(signal)).toEqual({ code: null, signal })
    await waitUntil('the server to be gone', () => processState(redis.pid) === 'gone')
    expect(existsSync(redis.folder)).toBe(false)
  })

  it('leaves no server and no folder when the process that forked it is gone', async () => {
    const child = fork(driver, { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] })
    if (!child.stdout) throw new Error('fork gave no stdout')
    const [line] = await once(createInterface({ input: child.stdout }), 'line')
    const redis = parse(String(line))
    const ended = once(child, 'exit')
    child.disconnect()
    expect(await ended).toEqual([null, 'SIGTERM'])
    await waitUntil('the server to be gone', () => processState(redis.pid) === 'gone')
    expect(existsSync(redis.folder)).toBe(false)
  })

  // Elsewhere the kernel has no death signal.
  it.runIf(process.platform === 'linux')(
    'leaves no server after SIGKILL, and a folder for the sweep',
    async () => {
      await using child = await spawnNode(driver)
      const redis = parse(await child.nextLine())
      await child.kill('SIGKILL')
      await waitUntil('the server to be gone', () => processState(redis.pid) === 'gone')
      sweepTemporaryFolders()
      expect(existsSync(redis.folder)).toBe(false)
    },
  )

  it('is told to use the main thread when it tries from a worker thread', async () => {
    const [error] = await once(new Worker(driver), 'error')
    expect(String(error)).toContain("from the main thread (vitest: pool 'forks')")
  })
})

function parse(line: string): { pid: number; folder: string } {
  const [pid, folder = ''] = line.split(' ')
  return { pid: Number(pid), folder }
}

import { createHash, randomBytes } from 'node:crypto'
import {
  type RedisServer,
  serversAvailable,
  startCluster,
  startMonitor,
  startRedis,
  waitUntil,
} from '@multinode/testbed'
import { afterAll, describe, expect, it } from 'vitest'
import { far, node } from './node.ts'

const bytes = randomBytes(5 * 1_048_576)
const timeoutMs = 10_000

describe.skipIf(!serversAvailable()).each([
  ['a single server', async () => startRedis()],
  ['a Cluster', async () => startCluster({ masters: 3 })],
])('5 MiB on %s', async (_, start) => {
  const place = await start()
  afterAll(() => place.stop())

  it('are exact on another node, as a file with its etag, as bytes, and as text', async () => {
    await using one = await node(place.url, { callTimeoutMs: timeoutMs })
    await using two = await node(place.url, { callTimeoutMs: timeoutMs })
    const options = { ...far, compressFromBytes: 1_024 } as const
    const text = 'a { color: red }\n'.repeat(bytes.length / 16)
    await one.cache.namespace<Buffer>('bytes', far).set('key', bytes)
    await one.cache.namespace<string>('texts', options).set('key', text)
    const { etag } = await one.cache.files.put('theme.css', bytes, { contentType: 'text/css' })
    expect((await two.cache.namespace<Buffer>('bytes', far).get('key'))?.equals(bytes)).toBe(true)
    expect((await two.cache.namespace<string>('texts', options).get('key')) === text).toBe(true)
    const file = await two.cache.files.get('theme.css')
    expect(file).toMatchObject({ status: 'found', etag, contentType: 'text/css' })
    expect(file?.status === 'found' && bytes.equals(file.bytes)).toBe(true)
    expect(etag).toContain(createHash('sha256').update(bytes).digest('hex').slice(0, 16))
  })
})

describe.skipIf(!serversAvailable())('values and files', async () => {
  const server = await startRedis()
  afterAll(() => server.stop())

  it('do not travel where they are known already', async () => {
    await using one = await node(server.url, { callTimeoutMs: timeoutMs })
    const { etag } = await one.cache.files.put('theme.css', bytes, { contentType: 'text/css' })
    const before = await sentBytes(server)
    const known = await one.cache.files.get('theme.css', { ifNoneMatch: etag })
    expect(known).toMatchObject({ status: 'unchanged', etag })
    expect((await sentBytes(server)) - before).toBeLessThan(100_000)
    await one.cache.files.get('theme.css')
    expect((await sentBytes(server)) - before, 'the control').toBeGreaterThan(bytes.length)
  })

  it('travel on another connection than counters and the other adapters, whatever their size', async () => {
    const small = bytes.subarray(0, 1_000)
    await using one = await node(server.url, { callTimeoutMs: timeoutMs })
    const { client, monitor } = await startMonitor(server.url)
    const sources = new Map<string, string>()
    monitor.on('monitor', (_: string, [name = '', ...args]: readonly string[], source: string) => {
      if (source !== 'lua') sources.set(`${name} ${args.find((arg) => arg.startsWith('{')) ?? ''}`, source)
    })
    await one.cache.namespace<Buffer>('bytes', far).set('key', small)
    await one.cache.counter('logins', { timeoutMs }).increment()
    await one.cache.files.put('theme.css', small, { contentType: 'text/css' })
    const sourceOf = (part: string): string | undefined =>
      [...sources].find(([command]) => command.includes(part))?.[1]
    await waitUntil('MONITOR to tell of all', () => [...sources.keys()].some((key) => key.includes(':file')))
    expect(sourceOf(':entry')).toBe(sourceOf(':file'))
    expect(sourceOf(':counter')).not.toBe(sourceOf(':entry'))
    monitor.disconnect()
    client.disconnect()
  })
})

async function sentBytes(from: RedisServer): Promise<number> {
  return Number(/total_net_output_bytes:(\d+)/.exec(String(await from.cli('INFO', 'stats')))?.[1])
}

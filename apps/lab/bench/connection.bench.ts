/**
 * The price of a deadline on every Redis command. Aims, not judged here: less than 3 us a command over bare ioredis, and at
 * least 0.95 of its throughput.
 */
import { openRedis, RedisScript } from '@multinode/connection-redis'
import { pluginContext } from '@multinode/core/testing'
import { startRedis } from '@multinode/testbed'
import { Redis } from 'ioredis'
import type { Bench, Round } from './harness.ts'
import { medianOf } from './statistics.ts'

const timeoutMs = 5_000
const key = 'key'
const script = new RedisScript('get', "return redis.call('GET', KEYS[1])")

const bench: Bench = {
  about:
    'what the deadline of a Redis command costs: ours over bare ioredis, and over its own commandTimeout',
  async prepare(resources) {
    const server = await startRedis()
    resources.defer(() => server.stop())
    const { connection, release } = await openRedis({ url: server.url }, pluginContext())
    resources.defer(release)
    const { client } = connection
    if (!(client instanceof Redis)) throw new TypeError('One server has a client of another kind.')
    // With the same settings, so that only what is ours differs.
    const raw = await openAlike(client, {}, resources)
    const peer = await openAlike(client, { commandTimeout: timeoutMs }, resources)
    await raw.set(key, 'a small value')
    await connection.script(script, [key], [], timeoutMs)

    const sides = (measure: (work: Work) => Round) => ({
      ours: measure(() => connection.command('GET', [key], timeoutMs)),
      raw: measure(() => raw.get(key)),
      peers: { 'ioredis with its commandTimeout': measure(() => peer.get(key)) },
    })
    const scriptSides = {
      ours: medianTime(() => connection.script(script, [key], [], timeoutMs)),
      raw: medianTime(() => raw.evalsha(script.hash, 1, key)),
      peers: { 'ioredis with its commandTimeout': medianTime(() => peer.evalsha(script.hash, 1, key)) },
    }
    return [
      { name: 'command', unit: 'us p50', better: 'lower', ...sides(medianTime) },
      { name: 'script', unit: 'us p50', better: 'lower', ...scriptSides },
      { name: 'throughput', unit: 'operations/s', better: 'higher', ...sides(throughput) },
    ]
  },
}

export default bench

type Work = () => Promise<unknown>

async function openAlike(
  client: Redis,
  options: { readonly commandTimeout?: number },
  resources: AsyncDisposableStack,
): Promise<Redis> {
  const alike = client.duplicate(options)
  resources.defer(() => alike.disconnect())
  await alike.connect()
  return alike
}

const commands = 5_000

/** One at a time. */
function medianTime(work: Work): Round {
  return async () => {
    const samples: number[] = []
    for (let count = 0; count < commands; count += 1) {
      const startedAt = performance.now()
      await work()
      samples.push((performance.now() - startedAt) * 1000)
    }
    return medianOf(samples)
  }
}

const loops = 64
const commandsOfLoop = 500

/** Many at once, each loop with one under way. */
function throughput(work: Work): Round {
  const loop = async (): Promise<void> => {
    for (let count = 0; count < commandsOfLoop; count += 1) await work()
  }
  return async () => {
    const startedAt = performance.now()
    await Promise.all(Array.from({ length: loops }, loop))
    return (loops * commandsOfLoop * 1000) / (performance.now() - startedAt)
  }
}

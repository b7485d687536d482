import type { RedisConnection } from '@multinode/connection-redis'
import { type Clock, isMultinodeError, MultinodeError } from '@multinode/core'
import type { Redis } from 'ioredis'

/** What survives when the server's process dies. `unknown`: this user may not ask. */
type Persistence = 'aof-always' | 'aof-everysec' | 'aof-no' | 'none' | 'unknown'

export interface ServerState {
  readonly persistence: Persistence
  /** Why jobs may be lost or come at the wrong time; what to do about each. */
  readonly concerns: readonly string[]
}

const longestSkewMs = 1_000
/** From the least safe to the safest. */
const order: readonly Persistence[] = ['none', 'unknown', 'aof-no', 'aof-everysec', 'aof-always']

/** Asks every master. Two or three round trips, at once for all. A Cluster of which none is known is away, and says so. */
export async function checkServer(
  connection: RedisConnection,
  clock: Clock,
  timeoutMs: number,
): Promise<ServerState> {
  const { client } = connection
  const masters = 'nodes' in client ? client.nodes('master') : [client]
  if (masters.length === 0) await connection.ping(timeoutMs)
  const states = await Promise.all(masters.map((master) => checkOne(connection, master, clock, timeoutMs)))
  return {
    persistence: order.find((each) => states.some(({ persistence }) => persistence === each)) ?? 'unknown',
    concerns: [...new Set(states.flatMap(({ concerns }) => concerns))],
  }
}

async function checkOne(
  connection: RedisConnection,
  master: Redis,
  clock: Clock,
  timeoutMs: number,
): Promise<ServerState> {
  const [info, skewMs, fsync] = await Promise.all([
    connection.run('INFO', timeoutMs, () => master.info()),
    skewOf(connection, master, clock, timeoutMs),
    fsyncOf(connection, master, timeoutMs),
  ])
  const persistence = fieldOf(info, 'aof_enabled') === '0' ? 'none' : fsync
  return { persistence, concerns: [...concernsOf(info), ...skewConcern(skewMs)] }
}

function concernsOf(info: string): string[] {
  const concerns: string[] = []
  const policy = fieldOf(info, 'maxmemory_policy')
  if (policy !== undefined && policy !== 'noeviction') {
    concerns.push(
      `it removes keys when it is full (maxmemory-policy ${policy}), jobs among them: set noeviction`,
    )
  }
  if (fieldOf(info, 'aof_enabled') === '0') {
    concerns.push('it loses jobs when it restarts: set appendonly yes')
  }
  const version = fieldOf(info, 'redis_version') ?? ''
  if (isBefore(version, 6, 2)) concerns.push(`it is Redis ${version}: take 6.2 or later`)
  return concerns
}

function skewConcern(skewMs: number): string[] {
  if (Math.abs(skewMs) <= longestSkewMs) return []
  const seconds = Math.round(Math.abs(skewMs) / 1_000)
  return [
    `its clock is about ${seconds} s ${skewMs > 0 ? 'ahead of' : 'behind'} this node's, so that delayed jobs come at the wrong time: ` +
      'synchronise the clocks of all nodes',
  ]
}

/** How much the server's clock is ahead, the time of the round trip given to it. */
async function skewOf(
  connection: RedisConnection,
  master: Redis,
  clock: Clock,
  timeoutMs: number,
): Promise<number> {
  const beforeMs = clock.wallMs()
  const [seconds, micros] = await connection.run('TIME', timeoutMs, () => master.time())
  const serverMs = Number(seconds) * 1_000 + Number(micros) / 1_000
  if (serverMs < beforeMs) return serverMs - beforeMs
  return Math.max(0, serverMs - clock.wallMs())
}

async function fsyncOf(connection: RedisConnection, master: Redis, timeoutMs: number): Promise<Persistence> {
  try {
    const reply: unknown = await connection.run('CONFIG', timeoutMs, () =>
      master.call('config', 'get', 'appendfsync'),
    )
    const value = Array.isArray(reply) ? `aof-${String(reply[1])}` : ''
    return order.find((each) => each === value) ?? 'unknown'
  } catch (error) {
    // Managed servers do not tell, and many users may not ask.
    if (isMultinodeError(error) && !error.retryable) return 'unknown'
    throw error
  }
}

function fieldOf(info: string, name: string): string | undefined {
  return new RegExp(`^${name}:([^\\r\\n]*)`, 'm').exec(info)?.[1]
}

function isBefore(version: string, major: number, minor: number): boolean {
  const [first = Number.NaN, second = Number.NaN] = version.split('.').map(Number)
  return first < major || (first === major && second < minor)
}

export function tooRisky(address: string, concerns: readonly string[]): MultinodeError {
  return new MultinodeError(
    'MISCONFIGURED',
    `Redis at ${address} is not fit for queues (strict): ${concerns.join('; ')}.`,
    { capability: 'queue', backend: 'redis', details: { concerns } },
  )
}

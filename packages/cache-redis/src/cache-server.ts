import type { RedisConnection, RedisScript } from '@multinode/connection-redis'
import { MultinodeError, type PluginContext } from '@multinode/core'
import { ServerClocks } from './server-clocks.ts'
import { VersionStore } from './versions.ts'

/** The largest value: what takes longer to send keeps all others on the same server waiting. */
export const maxBytes: number = 32 * 1_024 * 1_024

/** The server as all namespaces use it, on a connection on which only values travel. */
export class CacheServer {
  readonly connection: RedisConnection
  readonly clusterName: string
  readonly clocks: ServerClocks
  readonly versions: VersionStore

  constructor(connection: RedisConnection, { node, clock }: PluginContext) {
    this.connection = connection
    this.clusterName = node.clusterName
    this.clocks = new ServerClocks(connection, clock)
    this.versions = new VersionStore(connection)
  }
}

/** @param reply told of by its kind only: it may have what is stored */
export function unexpected(address: string, script: RedisScript, reply: unknown): MultinodeError {
  return new MultinodeError(
    'INTERNAL',
    `Redis at ${address}: the script ${script.name} answered with ${kindOf(reply)}, which it never does: ` +
      'something else writes to keys of this cluster, or the server is no Redis.',
    { capability: 'cache', backend: 'redis' },
  )
}

function kindOf(reply: unknown): string {
  if (Array.isArray(reply)) return `a list of ${reply.length}`
  if (Buffer.isBuffer(reply)) return 'bytes'
  return reply === null ? 'nothing' : `a ${typeof reply}`
}

export function tooLarge(what: string, bytes: number): MultinodeError {
  return new MultinodeError(
    'TOO_LARGE',
    `${what} has ${bytes} bytes, and Redis keeps at most ${maxBytes} here: split it, or keep it elsewhere.`,
    { capability: 'cache', backend: 'redis', outcome: 'not-sent', details: { bytes, maxBytes } },
  )
}

import { pluginContext } from '@multinode/core/testing'
import { openRedis, type RedisConnection, type RedisOptions } from '../src/index.ts'

export const callMs = 1_000

export interface Opened extends AsyncDisposable {
  readonly connection: RedisConnection
  readonly nodeId: string
  readonly warnings: readonly string[]
}

/** A connection of its own, which ends with its scope. A busy machine has time to make it. */
export async function openWith(
  options: RedisOptions,
  more: Parameters<typeof pluginContext>[0] = {},
): Promise<Opened> {
  const warnings: string[] = []
  const context = pluginContext({ connectTimeoutMs: 30_000, callTimeoutMs: callMs, ...more })
  const share = await openRedis(options, { ...context, warn: (text) => warnings.push(text) })
  const { nodeId } = context.node
  return { connection: share.connection, nodeId, warnings, [Symbol.asyncDispose]: share.release }
}

import { pluginContext } from '@multinode/core/testing'
import { openRabbitmq, type RabbitmqConnection, type RabbitmqOptions } from '../src/index.ts'

/** Patience that no test here is about: a busy machine answers later. */
export const callMs = 10_000

export interface Opened extends AsyncDisposable {
  readonly connection: RabbitmqConnection
  readonly nodeId: string
  /** Background trouble that was told. */
  readonly reports: readonly string[]
}

/** A connection of its own, which ends with its scope. */
export async function openWith(
  options: RabbitmqOptions,
  more: Parameters<typeof pluginContext>[0] = {},
): Promise<Opened> {
  const reports: string[] = []
  const report = (error: unknown): void => void reports.push(String(error))
  const context = pluginContext({ connectTimeoutMs: 20_000, callTimeoutMs: callMs, report, ...more })
  const { connection, release } = await openRabbitmq(options, context)
  return { connection, nodeId: context.node.nodeId, reports, [Symbol.asyncDispose]: release }
}

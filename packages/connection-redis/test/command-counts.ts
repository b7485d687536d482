import type { RedisServer } from '@multinode/testbed'

/** How often a server ran a command since its counts were set to 0, and how often it refused it before that. */
export async function countOf(
  server: RedisServer,
  command: string,
): Promise<{ calls: number; refused: number }> {
  const stats = String(await server.cli('INFO', 'commandstats'))
  const line = new RegExp(`^cmdstat_${command}:.*$`, 'm').exec(stats)?.[0] ?? ''
  const number = (name: string): number => Number(new RegExp(`${name}=(\\d+)`).exec(line)?.[1] ?? 0)
  return { calls: number('calls'), refused: number('rejected_calls') }
}

export async function resetCounts(servers: readonly RedisServer[]): Promise<void> {
  await Promise.all(servers.map((server) => server.cli('CONFIG', 'RESETSTAT')))
}

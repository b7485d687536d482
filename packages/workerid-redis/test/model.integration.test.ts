/**
 * The algorithm against everything that it is for, thousands of times: the real scripts run with the clock of a virtual server, nodes use any
 * timestamp of their window at any time, however late, and requests arrive late, twice or never. What no two holders may ever do is use one
 * timestamp with one id.
 */
import { figure, type RedisServer, seededRandom, serversAvailable, startRedis } from '@multinode/testbed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Flaw, VirtualTable } from './virtual-table.ts'
import { VirtualCluster } from './virtual-cluster.ts'

const runs = figure({ slice: 60, full: 5_000 })
const stepsEach = 120
const random = seededRandom()
/** Each flaw shows itself early with this one. */
const seedOfControls = 1

interface Play {
  readonly lives: number
  readonly seed: number
  readonly flaw?: Flaw
}

/** With a flaw until the first duplicate. */
async function play(server: RedisServer, { lives, seed, flaw }: Play): Promise<Record<string, number>> {
  const seen: Record<string, number> = {}
  for (let run = 0; run < lives; run += 1) {
    const table = new VirtualTable(server, `model:${run}`, flaw)
    const cluster = new VirtualCluster(table, seededRandom(seed + run))
    for (let step = 0; step < stepsEach; step += 1) await cluster.step()
    await table.close()
    for (const [name, times] of Object.entries(cluster.seen)) seen[name] = (seen[name] ?? 0) + times
    if (flaw !== undefined && cluster.seen.duplicates > 0) break
  }
  return seen
}

describe.skipIf(!serversAvailable())('a random life of a cluster', () => {
  let server: RedisServer

  beforeAll(async () => {
    server = await startRedis()
  })
  afterAll(() => server.stop())

  it(
    `never has one timestamp with one id twice, ${runs} times`,
    { timeout: figure({ slice: 60_000, full: 900_000 }) },
    async () => {
      const seen = await play(server, { lives: runs, seed: random.seed })
      expect({ seed: random.seed, duplicates: seen['duplicates'] }).toEqual({
        seed: random.seed,
        duplicates: 0,
      })
      // All that it is about came up.
      const missing = Object.keys(seen).filter((name) => name !== 'duplicates' && seen[name] === 0)
      expect(missing).toEqual([])
    },
  )

  it.each<[string, Flaw]>([
    ['no floor after a lease', { from: 'r.ceiling + terms.quarantineMs + 1', to: '0' }],
    ['no floor after a release', { from: 'tonumber(ARGV[3]) + 1', to: '0' }],
    ['no floor after a loss', { from: 'nowMs + terms.leaseMs + terms.aheadMs + terms.skewMs + 1', to: '0' }],
    ['histories that are not told apart', { from: 'if meta[1] == history then', to: 'if meta[1] then' }],
    ['records that are never out of date', { from: 'r and r.epoch == epoch', to: 'r ~= nil' }],
    ['claims that never end', { from: 'nowMs <= toldUntil - math.max', to: 'true or math.max' }],
    [
      'ceilings without a bound',
      { from: 'nowMs + terms.leaseMs + terms.aheadMs\n', to: 'nowMs + 1000000\n' },
    ],
  ])('has with %s', async (_, flaw) => {
    const seen = await play(server, { lives: 1_000, seed: seedOfControls, flaw })
    expect(seen['duplicates']).toBeGreaterThan(0)
  })
})

import {
  figure,
  type RedisServer,
  serversAvailable,
  spawnNode,
  startRedis,
  waitUntil,
} from '@multinode/testbed'
import { describe, expect, it } from 'vitest'

const count = figure({ slice: 5_000, full: 100_000 })
/** A lease takes about a kilobyte. */
const keptCount = Math.max(count, 10_000)
const timeout = 300_000
const hourMs = 3_600_000
const megabyte = 1_000_000

describe.skipIf(!serversAvailable()).concurrent(`${count} distinct locks`, () => {
  it('leave no keys on the server, and nothing in the process', { timeout }, async ({ annotate }) => {
    await using server = await startRedis()
    const grownBytes = await takeAndGiveBack(server, { count, tokenTtlMs: 2_000, keep: 'no' })
    const endedAt = performance.now()
    // 3 s, and room for a machine that is busy: keys that have run out are removed step by step.
    await waitUntil('all keys to be gone', async () => (await keyCount(server)) === 0, { deadlineMs: 5_000 })
    const goneAfterMs = Math.round(performance.now() - endedAt)
    await annotate(`heap grown by ${grownBytes} bytes; all keys gone after ${goneAfterMs} ms`)
    expect(grownBytes).toBeLessThan(5 * megabyte)
  })

  it(
    'the control: leave their tokens for as long as those are kept, and memory where the app keeps its leases',
    {
      timeout,
    },
    async ({ annotate }) => {
      await using server = await startRedis()
      const grownBytes = await takeAndGiveBack(server, { count: keptCount, tokenTtlMs: hourMs, keep: 'yes' })
      await annotate(`heap grown by ${grownBytes} bytes`)
      expect(await keyCount(server)).toBeGreaterThanOrEqual(keptCount)
      expect(grownBytes).toBeGreaterThan(5 * megabyte)
    },
  )
})

/** @returns by how much the heap of the process has grown */
async function takeAndGiveBack(
  server: RedisServer,
  how: { readonly count: number; readonly tokenTtlMs: number; readonly keep: 'yes' | 'no' },
): Promise<number> {
  const env = {
    REDIS_URL: server.url,
    COUNT: String(how.count),
    TOKEN_TTL_MS: String(how.tokenTtlMs),
    KEEP: how.keep,
  }
  await using child = await spawnNode(new URL('./fixtures/many-locks.ts', import.meta.url), { env })
  const [, grownBytes] = (await child.nextLine('done', timeout)).split(' ')
  expect(await child.exited).toEqual({ code: 0, signal: null })
  return Number(grownBytes)
}

async function keyCount(server: RedisServer): Promise<number> {
  return Number(await server.cli('DBSIZE'))
}

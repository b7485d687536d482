import { serversAvailable, spawnNode, startRedis, withLateness } from '@multinode/testbed'
import { describe, expect, it } from 'vitest'
import { callMs, longMs, node } from './node.ts'

const maker = new URL('fixtures/maker.ts', import.meta.url)

describe.skipIf(!serversAvailable()).concurrent('a node that is killed while it makes a value', () => {
  /** How long after the kill another node has a value, and how late the machine was meanwhile; undefined: not while it waits. */
  async function takeover(
    leaseMs: number,
    hardTimeoutMs: number,
  ): Promise<{ readonly waitMs: number; readonly lateMs: number } | undefined> {
    await using server = await startRedis()
    await using child = await spawnNode(maker, {
      env: { REDIS_URL: server.url, LEASE_MS: String(leaseMs) },
    })
    await child.nextLine('making')
    await using here = await node(server.url)
    const things = here.cache.namespace<string>('things', {
      ttlMs: longMs,
      leaseMs: 1_000,
      lockTimeoutMs: longMs,
      l1: false,
      timeoutMs: callMs,
    })
    // It waits already when the other one dies.
    const waiting = things.getOrSet('key', () => 'value', { hardTimeoutMs }).catch(() => 'late')
    const { result, sumMs } = await withLateness(
      () => server.cli('PING'),
      async () => {
        await child.kill()
        const killedAt = performance.now()
        return (await waiting) === 'value' ? performance.now() - killedAt : undefined
      },
    )
    return result === undefined ? undefined : { waitMs: result, lateMs: sumMs }
  }

  it('keeps the others waiting for no longer than its lease and a fifth of a second', async ({
    annotate,
  }) => {
    const { waitMs = NaN, lateMs = NaN } = (await takeover(1_000, longMs)) ?? {}
    await annotate(`a value after ${Math.round(waitMs)} ms, the machine late by ${Math.round(lateMs)} ms`)
    expect(waitMs).toBeLessThan(1_200 + lateMs)
  })

  it('would keep them waiting if its lease did not end, the control', async () => {
    expect(await takeover(longMs, 2_000)).toBe(undefined)
  })
})

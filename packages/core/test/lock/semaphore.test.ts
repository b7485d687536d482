import { describe, expect, test } from 'vitest'
import type { Lease, Semaphore } from '../../src/index.ts'
import { callUntyped } from '../support/call-untyped.ts'
import { failureOf, watch } from '../support/outcome.ts'
import { LocksOn } from '../support/locks-on.ts'

const permits = 3

/** All permits, taken by one node. */
function takeAll(semaphore: Semaphore): Promise<Lease[]> {
  return Promise.all(Array.from({ length: permits }, () => semaphore.acquire()))
}

describe('a semaphore', () => {
  test('is held by as many as it has permits, over all nodes, and by no more', async () => {
    const on = new LocksOn()
    const nodes = [on.locks, on.node()].map((locks) => locks.semaphore('key', { permits }))
    let inside = 0
    let most = 0
    const section = async (): Promise<void> => {
      inside += 1
      most = Math.max(most, inside)
      await new Promise(setImmediate)
      inside -= 1
    }
    await Promise.all(nodes.flatMap((semaphore) => Array.from({ length: 10 }, () => semaphore.run(section))))
    expect([most, inside]).toEqual([permits, 0])
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('gives each holder a token of its own, greater than all before', async () => {
    const semaphore = new LocksOn().locks.semaphore('key', { permits })
    const tokens: number[] = []
    for (let round = 0; round < 4; round += 1) {
      const leases = await takeAll(semaphore)
      tokens.push(...leases.map((lease) => lease.token))
      await Promise.all(leases.map((lease) => lease.release()))
    }
    expect(tokens.every((token) => Number.isSafeInteger(token))).toBe(true)
    expect(tokens).toEqual([...new Set(tokens)].toSorted((a, b) => a - b))
    expect(tokens).toHaveLength(4 * permits)
  })

  test('serves waiters in the order in which they asked: each release lets the next one in', async () => {
    const on = new LocksOn()
    const nodes = [on.locks, on.node()].map((locks) => locks.semaphore('key', { permits }))
    const held = await takeAll(on.locks.semaphore('key', { permits }))
    const served: number[] = []
    for (let index = 0; index < 6; index += 1) {
      const take = async (): Promise<void> => {
        const lease = await nodes[index % 2]?.acquire({ waitMs: 60_000, ttlMs: 60_000 })
        served.push(index)
        if (lease !== undefined) held.push(lease)
      }
      void take()
      await on.clock.advance(1)
    }
    expect(served).toEqual([])
    for (let released = 1; released <= 6; released += 1) {
      await held[released - 1]?.release()
      await on.clock.advance(0)
      expect(served).toEqual(Array.from({ length: released }, (_, index) => index))
    }
  })

  test('several permits that become free at once go to as many waiters, without a pause', async () => {
    const on = new LocksOn()
    const semaphore = on.locks.semaphore('key', { permits })
    const held = await takeAll(semaphore)
    const waiting = Array.from({ length: 4 }, () => watch(semaphore.acquire({ waitMs: 60_000 })))
    await on.clock.advance(1)
    await Promise.all(held.map((lease) => lease.release()))
    await on.clock.advance(0)
    expect(waiting.map(({ state }) => state)).toEqual(['resolved', 'resolved', 'resolved', 'pending'])
  })

  test('a permit whose holder is gone is free when its lease has ended', async () => {
    const on = new LocksOn()
    const semaphore = on.locks.semaphore('key', { permits: 1 })
    const lost = await semaphore.acquire({ ttlMs: 1_000 })
    const waiting = watch(on.node().semaphore('key', { permits: 1 }).acquire())
    await on.clock.advance(1_100)
    expect([waiting.state, lost.held, lost.signal.aborted]).toEqual(['resolved', false, true])
  })

  test('tryAcquire gives null when no permit is free, or when others wait for one', async () => {
    const on = new LocksOn()
    const semaphore = on.locks.semaphore('key', { permits: 1 })
    const lease = await semaphore.tryAcquire()
    expect(lease).toMatchObject({ held: true, key: 'key' })
    expect(await semaphore.tryAcquire()).toBeNull()
    on.lock.sharedStore.acquire({
      key: 'semaphore:key',
      owner: 'waiter',
      ttlMs: 10_000,
      waitMs: 10_000,
      mode: 'permit',
      permits: 1,
    })
    await lease?.release()
    expect(await semaphore.tryAcquire()).toBeNull()
  })

  test('where nodes name different numbers, that of whoever asks counts', async () => {
    const { locks } = new LocksOn()
    await locks.semaphore('key', { permits: 1 }).acquire()
    expect(await locks.semaphore('key', { permits: 1 }).tryAcquire()).toBeNull()
    expect(await locks.semaphore('key', { permits: 2 }).tryAcquire()).not.toBeNull()
    expect(await locks.semaphore('key', { permits: 2 }).tryAcquire()).toBeNull()
  })

  test('run renews the permit, resolves with what the routine returned, and gives it back', async () => {
    const on = new LocksOn()
    const semaphore = on.locks.semaphore('key', { permits: 1 })
    const routine = async (lease: Lease): Promise<string> => {
      await new Promise<void>((resolve) => {
        on.clock.setTimer(resolve, 3_000)
      })
      lease.assertHeld()
      return 'value'
    }
    const running = watch(semaphore.run(routine, { ttlMs: 900 }))
    await on.clock.advance(3_000)
    expect(running.value).toBe('value')
    expect(on.lock.times('extend').slice(0, 3)).toEqual([300, 600, 900])
    expect(on.lock.verbs().at(-1)).toBe('release')
    expect(await semaphore.tryAcquire()).not.toBeNull()
  })

  test('an aborted wait ends at once, and costs the one behind it nothing', async () => {
    const on = new LocksOn()
    const semaphore = on.locks.semaphore('key', { permits: 1 })
    const lease = await semaphore.acquire()
    const abort = new AbortController()
    const aborted = watch(semaphore.acquire({ signal: abort.signal }))
    await on.clock.advance(1)
    const behind = watch(semaphore.acquire())
    await on.clock.advance(1)
    abort.abort()
    await on.clock.advance(0)
    await lease.release()
    await on.clock.advance(0)
    expect(aborted.value).toMatchObject({ code: 'ABORTED', details: { key: 'key' } })
    expect(behind.state).toBe('resolved')
  })
})

describe('the arguments of a semaphore', () => {
  test.each<readonly [string, unknown, unknown, string]>([
    ['no permits', 'key', {}, 'permits'],
    ['permits 0', 'key', { permits: 0 }, 'permits'],
    ['permits 1.5', 'key', { permits: 1.5 }, 'permits'],
    ['permits as text', 'key', { permits: '3' }, 'permits'],
    ['more than a million permits', 'key', { permits: 1_000_001 }, 'permits'],
    ['a misspelt option', 'key', { permits: 1, permit: 2 }, 'permit'],
    ['no options', 'key', undefined, 'the options of semaphore'],
    ['an empty key', '', { permits: 1 }, 'key'],
  ])('are checked before anything is sent: %s', async (_, key, options, name) => {
    const { locks, lock } = new LocksOn()
    const error = await failureOf(() => callUntyped(locks, 'semaphore', [key, options]))
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', details: { name } })
    expect(lock.calls).toEqual([])
  })

  test('from one to a million permits are accepted, and told', () => {
    const { locks } = new LocksOn()
    for (const accepted of [1, 1_000_000]) {
      expect(locks.semaphore('key', { permits: accepted })).toMatchObject({ key: 'key', permits: accepted })
    }
  })
})

import type { Lease } from '@multinode/core'
import { figure, serversAvailable, startRedis, waitUntil } from '@multinode/testbed'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { node } from './node.ts'

/** What a cancel or a release that the fault hits reports is no news here. */
const quiet = { clusterName: 'shop', report: () => {} }

describe.skipIf(!serversAvailable()).concurrent('while the server is frozen', () => {
  const count = figure({ slice: 10, full: 100 })
  // Long enough to look at the server's side and to freeze it before the first renewal.
  const ttlMs = 5_000

  it(`${count} holders are told between their deadline and 50 ms later, before the server could end their leases`, async ({
    annotate,
  }) => {
    await using server = await startRedis()
    await using one = await node(server.url, quiet)
    const admin = new Redis(server.url)
    const keys = Array.from({ length: count }, (_, index) => `key-${index}`)
    const runs: Promise<void>[] = []
    const taken = keys.map(
      (key) =>
        new Promise<Lease>((resolve) => {
          const untilLost = async (lease: Lease): Promise<void> => {
            resolve(lease)
            await moment(lease.signal)
          }
          runs.push(one.locks.run(key, untilLost, { ttlMs }))
        }),
    )
    const outcomes = Promise.allSettled(runs)
    const leases = await Promise.all(taken)
    const naive = new NaiveHolder(admin, ttlMs)
    await naive.start()
    const expiries = await Promise.all(keys.map((key) => admin.pexpiretime(`{shop:lock:${key}}:lease`)))
    const naiveExpiresAt = await admin.pexpiretime(naive.key)
    await server.pause()
    const losses = await Promise.all(leases.map(lossOf))
    await waitUntil('the time of all to be over', () => Date.now() > Math.max(naiveExpiresAt, ...expiries))
    expect(naive.lostAt, 'the control: told by a reply').toBe(Infinity)
    server.resume()
    const latestMs = Math.max(...losses.map(({ afterMs }) => afterMs))
    const mostLateMs = Math.max(...losses.map(({ lateMs }) => lateMs))
    await annotate(
      `told up to ${latestMs} ms after the deadline, bare timers fired up to ${mostLateMs} ms late`,
    )
    for (const [index, { afterMs, lateMs, lostAt }] of losses.entries()) {
      // Clocks that count in whole ms.
      expect(afterMs).toBeGreaterThanOrEqual(-1)
      expect(afterMs).toBeLessThan(50 + lateMs)
      expect(lostAt - lateMs).toBeLessThan(expiries[index] ?? NaN)
    }
    for (const outcome of await outcomes) expect(outcome).toMatchObject({ reason: { code: 'LOST' } })
    await waitUntil('the naive holder to be told', () => naive.lostAt < Infinity)
    expect(naive.lostAt).toBeGreaterThan(naiveExpiresAt)
    admin.disconnect()
  })

  it('a wait that is aborted leaves no lease behind', async () => {
    await using server = await startRedis()
    const admin = new Redis(server.url)
    await using one = await node(server.url, quiet)
    await (await one.locks.acquire('warm-up')).release()
    await server.pause()
    const abort = new AbortController()
    const waiting = one.locks.acquire('key', { waitMs: 60_000, signal: abort.signal })
    const abandoned = one.driver.acquire({ key: 'bare', owner: 'a', ttlMs: 30_000, waitMs: 0 }, 50)
    await expect(abandoned).rejects.toMatchObject({ code: 'TIMEOUT' })
    abort.abort()
    await expect(waiting).rejects.toMatchObject({ code: 'ABORTED' })
    expect(one.locks.stats()).toMatchObject({ waiting: 0, held: 0 })
    server.resume()
    await waitUntil('the cancel', async () => (await admin.keys('{shop:lock:key}:cancelled:*')).length === 1)
    expect(await admin.exists('{shop:lock:key}:token'), 'it had been granted').toBe(1)
    expect(await admin.keys('*:lease'), 'the control: nobody cancelled this one').toEqual([
      '{shop:lock:bare}:lease',
    ])
    admin.disconnect()
  })
})

interface Loss {
  /** After the deadline. */
  readonly afterMs: number
  /** How late a timer of nobody's fired for the same moment: so late are timers on this machine right now. */
  readonly lateMs: number
  readonly lostAt: number
}

async function lossOf(lease: Lease): Promise<Loss> {
  const remainingMs = lease.remainingMs()
  const deadlineMs = performance.now() + remainingMs
  const timer = new Promise<number>((resolve) => {
    setTimeout(() => resolve(performance.now()), remainingMs)
  })
  await moment(lease.signal)
  const afterMs = performance.now() - deadlineMs
  const lostAt = Date.now()
  return { afterMs, lateMs: Math.max(0, (await timer) - deadlineMs), lostAt }
}

/** Believes that it holds its lock until a reply says that it could not be extended. */
class NaiveHolder {
  readonly key = 'naive'
  lostAt = Infinity
  readonly #client: Redis
  readonly #ttlMs: number

  constructor(client: Redis, ttlMs: number) {
    this.#client = client
    this.#ttlMs = ttlMs
  }

  async start(): Promise<void> {
    await this.#client.set(this.key, 'mine', 'PX', this.#ttlMs, 'NX')
    setTimeout(() => void this.#renew(), this.#ttlMs / 3)
  }

  async #renew(): Promise<void> {
    const reply = await this.#client.pexpire(this.key, this.#ttlMs).catch(() => 0)
    if (reply === 0) this.lostAt = Date.now()
    else setTimeout(() => void this.#renew(), this.#ttlMs / 3)
  }
}

function moment(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

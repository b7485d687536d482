/**
 * The memory driver is what the protocol is simulated with (`packages/core/test/lock/simulation.test.ts`): here the same random traces of
 * verbs must have the same replies from it and from the scripts on a real server.
 */
import type { LockDriver, SharedMode } from '@multinode/core'
import { ManualClock, memoryLock, pluginContext } from '@multinode/core/testing'
import {
  figure,
  type RedisServer,
  type SeededRandom,
  seededRandom,
  serversAvailable,
  startRedis,
  waitUntil,
} from '@multinode/testbed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { redisLock } from '../src/index.ts'

const traces = figure({ slice: 300, full: 10_000 })
const random = seededRandom()
/** Nothing runs out in a trace but the first claim of a waiter, after 200 ms: one that took longer than this says nothing. */
const timelessMs = 100
const ttlMs = 3_600_000
const callTimeoutMs = 10_000

/** A reply in words; for a grant the token, which differs from one backend to the other. */
type Reply = string | { readonly token: number }

interface Trace {
  /** Of what kind of lock. */
  readonly kind: string
  readonly steps: readonly { readonly name: string; readonly on: (driver: LockDriver) => Promise<Reply> }[]
}

describe.skipIf(!serversAvailable())('a random trace of verbs', () => {
  let server: RedisServer
  let redis: LockDriver

  beforeAll(async () => {
    server = await startRedis()
    redis = await redisLock({ url: server.url }).create(pluginContext({ clusterName: 'model' }))
    await useEveryVerb(redis)
  })

  afterAll(async () => {
    await redis.close()
    await server.stop()
  })

  it(`has the same replies from Redis and from memory, ${traces} times`, async () => {
    const seen = new Set<string>()
    for (let count = 0; count < traces; count += 1) {
      const { trace, replies } = await played(`trace-${count}`)
      const expected = await onMemory(trace)
      const names = trace.steps.map(({ name }) => name)
      const told = `MULTINODE_CHAOS_SEED=${random.seed}, ${trace.kind} ${count}: ${names.join(', ')}`
      expect({ told, replies: inRanks(replies) }).toEqual({ told, replies: inRanks(expected) })
      for (const reply of inRanks(expected)) seen.add(reply.replace(/\d+$/, ''))
    }
    // All kinds of replies came up.
    expect([...seen].toSorted()).toEqual(
      [
        'busy',
        'cancelled',
        'done',
        'duplicate',
        'expired',
        'extended',
        'not-owner',
        'released',
        'token ',
      ].toSorted(),
    )
  }, 600_000)

  it('the control: has other replies from a memory that forgets to cancel', async () => {
    let differ = 0
    for (let count = 0; count < 50; count += 1) {
      const { trace, replies } = await played(`control-${count}`)
      const others = await onMemory(trace, { isForgetful: true })
      if (inRanks(replies).join() !== inRanks(others).join()) differ += 1
    }
    expect(differ).toBeGreaterThan(0)
  })

  /** On Redis, in so short a time that nothing ran out. */
  function played(id: string): Promise<{ trace: Trace; replies: Reply[] }> {
    let attempt = 0
    return waitUntil('a trace in which no time passes', async () => {
      attempt += 1
      const trace = randomTrace(`${id}-${attempt}`)
      const startedAtMs = performance.now()
      // All at once: they keep their order on the one connection.
      const replies = await Promise.all(trace.steps.map(({ on }) => on(redis)))
      return performance.now() - startedAtMs < timelessMs ? { trace, replies } : undefined
    })
  }
})

/** A script that the server does not know yet is sent again, and so would be carried out after those behind it. */
async function useEveryVerb(driver: LockDriver): Promise<void> {
  const lease = { key: 'first', owner: 'a', ttlMs, waitMs: 0 }
  for (const verbs of [driver, sharedOf(driver)]) {
    await verbs.acquire({ ...lease, mode: 'write', permits: 1 }, callTimeoutMs)
    await verbs.extend('first', 'a', ttlMs, callTimeoutMs)
    await verbs.release('first', 'a', callTimeoutMs)
    await verbs.cancel('first', 'a', callTimeoutMs)
  }
  const jobs = jobsOf(driver)
  const fire = { job: 'first', owner: 'a', scheduledAtMs: 1, atMostMs: ttlMs, maxSkewMs: 0 }
  await jobs.claim(fire, callTimeoutMs)
  await jobs.done('first', 'a', callTimeoutMs)
}

/** `isForgetful`: of a memory that does nothing about cancels. */
async function onMemory(trace: Trace, { isForgetful = false } = {}): Promise<Reply[]> {
  const memory = await memoryLock.create(pluginContext({ clock: new ManualClock() }))
  const replies: Reply[] = []
  for (const { name, on } of trace.steps) {
    replies.push(isForgetful && name.startsWith('cancel') ? 'done' : await on(memory))
  }
  await memory.close()
  return replies
}

/** Tokens as the places that they have among those of the trace. */
function inRanks(replies: readonly Reply[]): string[] {
  const tokens = replies.flatMap((reply) => (typeof reply === 'string' ? [] : [reply.token]))
  const order = [...new Set(tokens)].toSorted((one, other) => one - other)
  return replies.map((reply) => (typeof reply === 'string' ? reply : `token ${order.indexOf(reply.token)}`))
}

function randomTrace(id: string): Trace {
  const kinds = ['plain', 'semaphore', 'readwrite', 'job'] as const
  const kind = pick(random, kinds)
  const length = random.between(3, 30)
  const steps = Array.from({ length }, () => (kind === 'job' ? jobStep(id) : leaseStep(id, kind)))
  return { kind, steps }
}

function leaseStep(key: string, kind: 'plain' | 'semaphore' | 'readwrite'): Trace['steps'][number] {
  const owner = `${key}-${random.between(1, 5)}`
  const verb = pick(random, [
    'acquire',
    'acquire',
    'acquire',
    'extend',
    'release',
    'release',
    'cancel',
  ] as const)
  if (verb === 'acquire') return acquireStep(key, owner, kind)
  const on = async (driver: LockDriver): Promise<Reply> => {
    const verbs = kind === 'plain' ? driver : sharedOf(driver)
    if (verb === 'extend') return verbs.extend(key, owner, ttlMs, callTimeoutMs)
    if (verb === 'release') return verbs.release(key, owner, callTimeoutMs)
    await verbs.cancel(key, owner, callTimeoutMs)
    return 'done'
  }
  return { name: `${verb} ${owner}`, on }
}

function acquireStep(
  key: string,
  owner: string,
  kind: 'plain' | 'semaphore' | 'readwrite',
): Trace['steps'][number] {
  const waitMs = pick(random, [0, ttlMs])
  const mode: SharedMode = kind === 'semaphore' ? 'permit' : pick(random, ['read', 'read', 'write'] as const)
  const permits = kind === 'semaphore' ? random.between(1, 3) : 1
  const request = { key, owner, ttlMs, waitMs }
  const on = async (driver: LockDriver): Promise<Reply> => {
    const reply =
      kind === 'plain'
        ? await driver.acquire(request, callTimeoutMs)
        : await sharedOf(driver).acquire({ ...request, mode, permits }, callTimeoutMs)
    return reply.status === 'granted' ? { token: reply.token } : reply.status
  }
  const how = kind === 'plain' ? '' : ` ${mode} ${permits}`
  return { name: `acquire ${owner}${how}${waitMs > 0 ? ' waiting' : ''}`, on }
}

function jobStep(job: string): Trace['steps'][number] {
  const owner = `${job}-${random.between(1, 4)}`
  const scheduledAtMs = random.between(1, 6)
  const verb = pick(random, ['claim', 'claim', 'extend', 'done'] as const)
  const on = async (driver: LockDriver): Promise<Reply> => {
    const jobs = jobsOf(driver)
    if (verb === 'extend') return jobs.extend(job, owner, ttlMs, callTimeoutMs)
    if (verb === 'done') return jobs.done(job, owner, callTimeoutMs)
    const reply = await jobs.claim(
      { job, owner, scheduledAtMs, atMostMs: ttlMs, maxSkewMs: 0 },
      callTimeoutMs,
    )
    return reply.status === 'run' ? { token: reply.token } : reply.status
  }
  return { name: verb === 'claim' ? `claim ${scheduledAtMs} ${owner}` : `${verb} ${owner}`, on }
}

function sharedOf({ shared }: LockDriver): NonNullable<LockDriver['shared']> {
  if (shared === undefined) throw new Error('a driver without shared locks')
  return shared
}

function jobsOf({ jobs }: LockDriver): NonNullable<LockDriver['jobs']> {
  if (jobs === undefined) throw new Error('a driver without jobs')
  return jobs
}

function pick<T>(from: SeededRandom, values: readonly [T, ...T[]]): T {
  return values[from.between(0, values.length - 1)] ?? values[0]
}

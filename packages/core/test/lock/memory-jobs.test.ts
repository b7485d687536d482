import { beforeEach, describe, expect, test } from 'vitest'
import type { FireReply } from '../../src/index.ts'
import { MemoryJobs } from '../../src/lock/memory-jobs.ts'
import { ManualClock } from '../../src/testing/index.ts'

let clock = new ManualClock()
let jobs = new MemoryJobs(clock)
let startMs = 0
beforeEach(() => {
  clock = new ManualClock()
  jobs = new MemoryJobs(clock)
  startMs = clock.wallMs()
})

/** The fire that is due so many ms after the start. */
function claim(owner: string, dueMs: number, { atMostMs = 1_000, job = 'job' } = {}): Promise<FireReply> {
  return jobs.claim({ job, owner, scheduledAtMs: startMs + dueMs, atMostMs, maxSkewMs: 100 })
}

async function tokenOf(reply: Promise<FireReply>): Promise<number> {
  const settled = await reply
  return settled.status === 'run' ? settled.token : 0
}

describe('jobs on memory', () => {
  test('give a fire to one owner, and the same answer to its repetition', async () => {
    const first = await claim('a', 0)
    expect(first.status).toBe('run')
    expect(await claim('a', 0)).toEqual(first)
    expect(await claim('b', 0)).toEqual({ status: 'duplicate' })
    expect(await claim('b', -1)).toEqual({ status: 'duplicate' })
    expect((await claim('b', 0, { job: 'other' })).status).toBe('run')
  })

  test('a repetition starts the run anew, unless it was extended for longer', async () => {
    await claim('a', 0)
    clock.freeze(600)
    await claim('a', 0)
    expect(await claim('b', 50)).toEqual({ status: 'busy', retryAfterMs: 1_000 })
    expect(await jobs.extend('job', 'a', 5_000)).toBe('extended')
    await claim('a', 0)
    expect(await claim('b', 50)).toEqual({ status: 'busy', retryAfterMs: 5_000 })
  })

  test('a copy of the claim that arrives after done does not begin the run again', async () => {
    await claim('a', 0)
    await jobs.done('job', 'a')
    expect(await claim('a', 0)).toEqual({ status: 'duplicate' })
    expect((await claim('b', 50)).status).toBe('run')
  })

  test('a run ends exactly at atMostMs; a repetition has it again, if nobody came', async () => {
    const first = await claim('a', 0)
    clock.freeze(999)
    expect(await claim('b', 50)).toEqual({ status: 'busy', retryAfterMs: 1 })
    clock.freeze(1)
    expect(await jobs.extend('job', 'a', 1_000)).toBe('expired')
    expect(await jobs.done('job', 'a')).toBe('expired')
    expect(await claim('a', 0)).toEqual(first)
    clock.freeze(1_000)
    expect((await claim('b', 50)).status).toBe('run')
    expect(await claim('a', 0)).toEqual({ status: 'duplicate' })
  })

  test('busy changes nothing: the fire can be claimed later', async () => {
    await claim('a', 0)
    expect((await claim('b', 50)).status).toBe('busy')
    expect(await jobs.done('job', 'a')).toBe('released')
    expect((await claim('b', 50)).status).toBe('run')
  })

  test('extend and done say what they found', async () => {
    expect([await jobs.extend('job', 'a', 10), await jobs.done('job', 'a')]).toEqual(['expired', 'expired'])
    await claim('a', 0)
    expect([await jobs.extend('job', 'b', 10), await jobs.done('job', 'b')]).toEqual([
      'not-owner',
      'not-owner',
    ])
    expect([await jobs.done('job', 'a'), await jobs.done('job', 'a')]).toEqual(['released', 'expired'])
  })

  test('a fire that is further ahead than allowed is early, and uses nothing up', async () => {
    expect(await claim('a', 101)).toEqual({ status: 'early', backendMs: startMs })
    expect((await claim('a', 100)).status).toBe('run')
  })

  test('a wall clock that is set does not end a run, and tokens go on growing', async () => {
    const first = await tokenOf(claim('a', 0))
    clock.jumpWallClock(3_600_000)
    expect((await claim('b', 3_600_000)).status).toBe('busy')
    clock.jumpWallClock(-3_600_000)
    await jobs.done('job', 'a')
    const second = await tokenOf(claim('b', 50))
    const third = await tokenOf(new MemoryJobs(clock).claim({ ...request, scheduledAtMs: startMs }))
    expect([second > first, third > second]).toEqual([true, true])
  })
})

const request = { job: 'job', owner: 'z', atMostMs: 1_000, maxSkewMs: 100 }

import { describe, expect, test } from 'vitest'
import { type FireClaim, type FireReply, type Locks, MultinodeError } from '../../src/index.ts'
import { callUntyped } from '../support/call-untyped.ts'
import { failureOf, Later, never, watch } from '../support/outcome.ts'
import { LocksOn } from '../support/locks-on.ts'

const gone = new MultinodeError('UNAVAILABLE', 'gone', { outcome: 'unknown' })
const refused = new MultinodeError('REJECTED', 'refused')
const atMostMs = 60_000

type Run = FireClaim & { status: 'run' }

function asRun(claim: unknown): Run {
  if (isRun(claim)) return claim
  throw new Error('it was not to be run')
}

function isRun(claim: unknown): claim is Run {
  return typeof claim === 'object' && claim !== null && 'status' in claim && claim.status === 'run'
}

/** A set-up, and the times of a schedule that fires every minute from now on. */
function scheduled(on = new LocksOn()): { on: LocksOn; locks: Locks; due: (minute: number) => number } {
  const startMs = on.clock.wallMs()
  return { on, locks: on.locks, due: (minute) => startMs + minute * 60_000 }
}

describe('claimFire', () => {
  test('tells one node to run a fire, and the others that it is a duplicate', async () => {
    const { on, due } = scheduled()
    const nodes = [on.locks, on.node(), on.node()]
    const claims = await Promise.all(nodes.map((locks) => locks.claimFire('job', due(0), { atMostMs })))
    expect(claims.map(({ status }) => status)).toEqual(['run', 'duplicate', 'duplicate'])
    const run = asRun(claims[0])
    expect(Number.isSafeInteger(run.token)).toBe(true)
    expect(run.lease).toMatchObject({ key: 'job', token: run.token, held: true })
  })

  test('is one call, and done is another', async () => {
    const { on, locks, due } = scheduled()
    const run = asRun(await locks.claimFire('job', due(0), { atMostMs }))
    await run.done()
    expect(on.lock.calls).toMatchObject([
      { verb: 'claim', timeoutMs: 5_000 },
      { verb: 'done', timeoutMs: 5_000 },
    ])
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('takes the same moment as a Date and in ms', async () => {
    const { on, locks, due } = scheduled()
    await locks.claimFire('job', new Date(due(0)), { atMostMs })
    expect(await on.node().claimFire('job', due(0), { atMostMs })).toEqual({ status: 'duplicate' })
  })

  test('a fire that is done is a duplicate for ever, and so is every earlier one', async () => {
    const { on, locks, due } = scheduled()
    await on.clock.advance(60_000)
    await asRun(await locks.claimFire('job', due(1), { atMostMs })).done()
    await on.clock.advance(86_400_000)
    for (const fire of [due(1), due(0), due(1) - 1]) {
      expect(await on.node().claimFire('job', fire, { atMostMs })).toEqual({ status: 'duplicate' })
    }
  })

  test('the next fire is busy until the run is done, and then it is run, with a greater token', async () => {
    const { on, locks, due } = scheduled()
    const first = asRun(await locks.claimFire('job', due(0), { atMostMs: 600_000 }))
    await on.clock.advance(60_000)
    const other = on.node()
    expect(await other.claimFire('job', due(1), { atMostMs })).toEqual({
      status: 'busy',
      retryAfterMs: 540_000,
    })
    await first.done()
    const second = asRun(await other.claimFire('job', due(1), { atMostMs }))
    expect(second.token).toBeGreaterThan(first.token)
  })

  test('a run that nobody ends keeps the next fire waiting for atMostMs, and its signal says so', async () => {
    const { on, locks, due } = scheduled()
    const run = asRun(await locks.claimFire('job', due(0), { atMostMs: 10_000 }))
    await on.clock.advance(9_897)
    expect(run.lease.signal.aborted).toBe(false)
    await on.clock.advance(1)
    expect(run.lease.signal).toMatchObject({
      aborted: true,
      reason: { code: 'LOST', details: { key: 'job' } },
    })
    const other = on.node()
    expect(await other.claimFire('job', due(1), { atMostMs })).toMatchObject({ status: 'busy' })
    await on.clock.advance(102)
    asRun(await other.claimFire('job', due(1), { atMostMs }))
    await run.done()
    expect(on.reported).toEqual([])
    expect(await on.node().claimFire('job', due(1) + 1, { atMostMs })).toMatchObject({ status: 'busy' })
  })

  test('a run is not renewed by itself, and can be extended', async () => {
    const { on, locks, due } = scheduled()
    const { lease } = asRun(await locks.claimFire('job', due(0), { atMostMs: 10_000 }))
    await on.clock.advance(9_000)
    expect(on.lock.verbs()).toEqual(['claim'])
    await lease.extend(60_000)
    await on.clock.advance(50_000)
    expect(lease.held).toBe(true)
    expect(await on.node().claimFire('job', due(1), { atMostMs })).toEqual({
      status: 'busy',
      retryAfterMs: 10_000,
    })
  })

  test('jobs of different names do not meet', async () => {
    const { locks, due } = scheduled()
    const statuses: string[] = []
    for (const job of ['one', 'two', 'two ']) {
      const { status } = await locks.claimFire(job, due(0), { atMostMs })
      statuses.push(status)
    }
    expect(statuses).toEqual(['run', 'run', 'run'])
  })
})

describe('claimFire, and a fire that is ahead', () => {
  test('refuses one that is further ahead than maxSkewMs, by default a minute, and nothing is used up', async () => {
    const { on, locks, due } = scheduled()
    const error = await failureOf(() => locks.claimFire('job', due(1) + 1, { atMostMs }))
    expect(error).toMatchObject({
      code: 'CLOCK_SKEW',
      retryable: false,
      details: { job: 'job', backendMs: due(0), maxSkewMs: 60_000 },
      message: expect.stringContaining("is 60001 ms ahead of the backend's clock, more than 60000 ms"),
    })
    asRun(await locks.claimFire('job', due(1), { atMostMs }))
    expect(on.lock.verbs()).toEqual(['claim', 'claim'])
  })

  test('keeps to another maxSkewMs', async () => {
    const { locks, due } = scheduled()
    const options = { atMostMs, maxSkewMs: 0 }
    await expect(locks.claimFire('job', due(0) + 1, options)).rejects.toMatchObject({ code: 'CLOCK_SKEW' })
    asRun(await locks.claimFire('job', due(0), options))
    await expect(
      locks.claimFire('other', due(60), { atMostMs, maxSkewMs: 3_600_000 }),
    ).resolves.toMatchObject({ status: 'run' })
  })
})

describe('claimFire, and a backend in trouble', () => {
  test('repeats a claim whose answer was lost, as the same owner: the fire is not lost', async () => {
    const { on, locks, due } = scheduled()
    on.lock.answers.jobs = {
      claim: async (request) => {
        await on.lock.jobs.claim(request)
        throw gone
      },
    }
    const claiming = watch(locks.claimFire('job', due(0), { atMostMs }))
    await on.clock.advance(200)
    delete on.lock.answers.jobs
    await on.clock.advance(100)
    const run = asRun(claiming.value)
    expect(run.lease.held).toBe(true)
    expect(new Set(on.lock.calls.map(({ owner }) => owner)).size).toBe(1)
    expect(on.lock.verbs()).not.toContain('done')
  })

  test('counts the time of a run from the request that was answered', async () => {
    const { on, locks, due } = scheduled()
    on.lock.answers.jobs = { claim: () => Promise.reject(gone) }
    const claiming = watch(locks.claimFire('job', due(0), { atMostMs }))
    await on.clock.advance(3_000)
    delete on.lock.answers.jobs
    await on.clock.advance(500)
    expect(asRun(claiming.value).lease.remainingMs()).toBeGreaterThan(58_500)
  })

  test('gives up after the deadline of calls, and says done for what it may have claimed', async () => {
    const { on, locks, due } = scheduled()
    on.lock.answers.jobs = {
      claim: async (request) => {
        await on.lock.jobs.claim(request)
        throw gone
      },
    }
    const claiming = watch(locks.claimFire('job', due(0), { atMostMs }))
    await on.clock.advance(5_000)
    expect(claiming.value).toBe(gone)
    expect(on.lock.verbs().at(-1)).toBe('done')
    delete on.lock.answers.jobs
    await on.clock.advance(0)
    expect(await on.node().claimFire('job', due(1) - 1, { atMostMs })).toMatchObject({ status: 'run' })
    expect(on.reported).toEqual([])
  })

  test('repeats that done through a short outage, and reports it when it cannot be said', async () => {
    const { on, locks, due } = scheduled()
    on.lock.answers.jobs = { claim: () => Promise.reject(refused), done: () => Promise.reject(gone) }
    expect(await failureOf(() => locks.claimFire('job', due(0), { atMostMs }))).toBe(refused)
    await on.clock.advance(1_000)
    expect(on.lock.times('done').length).toBeGreaterThan(5)
    expect(on.reported).toEqual([])
    await on.clock.advance(4_000)
    expect(on.reported).toEqual([gone])
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('settles though the backend never answers', async () => {
    const { on, locks, due } = scheduled(new LocksOn({ jobs: { claim: never, done: never } }))
    const claiming = watch(locks.claimFire('job', due(0), { atMostMs }))
    await on.clock.advance(5_500)
    expect(claiming.value).toMatchObject({ code: 'TIMEOUT', outcome: 'unknown' })
  })

  test('an answer that comes after atMostMs is no run', async () => {
    const { on, locks, due } = scheduled()
    const answer = new Later<void>()
    on.lock.answers.jobs = {
      claim: async (request) => {
        const reply = await on.lock.jobs.claim(request)
        await answer.promise
        return reply
      },
    }
    const claiming = watch(locks.claimFire('job', due(0), { atMostMs: 1_000 }))
    await on.clock.advance(990)
    answer.resolve()
    await on.clock.advance(0)
    expect(claiming.value).toMatchObject({ code: 'TIMEOUT', outcome: 'unknown' })
    expect(on.lock.verbs()).toEqual(['claim', 'done'])
  })

  test('wraps an error that is not typed', async () => {
    const odd = new TypeError('odd')
    const { locks, due } = scheduled(new LocksOn({ jobs: { claim: () => Promise.reject(odd) } }))
    expect(await failureOf(() => locks.claimFire('job', due(0), { atMostMs }))).toMatchObject({
      code: 'INTERNAL',
      cause: odd,
    })
  })

  test('done never rejects: what cannot be said is reported', async () => {
    const { on, locks, due } = scheduled(new LocksOn({ jobs: { done: () => Promise.reject(refused) } }))
    const run = asRun(await locks.claimFire('job', due(0), { atMostMs }))
    await run.done()
    expect(on.reported).toEqual([refused])
  })

  test('done may be said twice, and is sent once', async () => {
    const { on, locks, due } = scheduled()
    const run = asRun(await locks.claimFire('job', due(0), { atMostMs }))
    await Promise.all([run.done(), run.done()])
    expect([on.lock.verbs(), on.reported]).toEqual([['claim', 'done'], []])
  })
})

describe('claimFire, and the end of the cluster object', () => {
  test.each<readonly [string, (locks: Locks) => Promise<unknown>]>([
    ['closed', (locks) => locks.close()],
    ['drained', (locks) => locks.drain(0)],
  ])('is refused once it was %s', async (_, end) => {
    const { on, locks, due } = scheduled()
    const ended = watch(end(locks))
    await on.clock.advance(0)
    expect(ended.state).toBe('resolved')
    expect(await failureOf(() => locks.claimFire('job', due(0), { atMostMs }))).toMatchObject({
      code: 'CLOSED',
    })
    expect(on.lock.calls).toEqual([])
  })

  test('drain waits for a run, and tells the job of one that does not end', async () => {
    const { on, locks, due } = scheduled()
    const run = asRun(await locks.claimFire('job', due(0), { atMostMs }))
    const draining = watch(locks.drain(10_000))
    await on.clock.advance(9_999)
    expect(draining.state).toBe('pending')
    await on.clock.advance(1)
    expect(draining.value).toEqual(['job'])
    expect(run.lease.signal.aborted).toBe(true)
  })

  test('drain ends with the last run', async () => {
    const { on, locks, due } = scheduled()
    const run = asRun(await locks.claimFire('job', due(0), { atMostMs }))
    const draining = watch(locks.drain(10_000))
    await on.clock.advance(1_000)
    await run.done()
    await on.clock.advance(0)
    expect(draining.value).toEqual([])
  })

  test.each<readonly [string, (locks: Locks) => Promise<unknown>]>([
    ['closing', (locks) => locks.close()],
    ['draining', (locks) => locks.drain(100)],
  ])('a claim that is answered only after %s is no run, and the next fire need not wait', async (_, end) => {
    const { on, locks, due } = scheduled()
    const answer = new Later<void>()
    on.lock.answers.jobs = {
      claim: async (request): Promise<FireReply> => {
        const reply = await on.lock.jobs.claim(request)
        await answer.promise
        return reply
      },
    }
    const claiming = watch(locks.claimFire('job', due(0), { atMostMs }))
    await on.clock.advance(0)
    const ended = watch(end(locks))
    await on.clock.advance(100)
    answer.resolve()
    await on.clock.advance(0)
    expect([ended.state, claiming.value]).toMatchObject(['resolved', { code: 'CLOSED' }])
    delete on.lock.answers.jobs
    expect(await on.node().claimFire('job', due(0) + 1, { atMostMs })).toMatchObject({ status: 'run' })
    expect(on.clock.pendingTimers).toBe(1)
  })
})

describe('the arguments of claimFire', () => {
  test.each<readonly [string, readonly unknown[], string]>([
    ['an empty job', ['', 0, { atMostMs }], 'job is ""'],
    ['a Date that is none', ['job', new Date('x'), { atMostMs }], 'scheduledAt is of type Date'],
    ['a time that is not whole', ['job', 1.5, { atMostMs }], 'scheduledAt is 1.5'],
    ['a time before 1970', ['job', -1, { atMostMs }], 'scheduledAt is -1'],
    ['a time as text', ['job', '2026-01-01', { atMostMs }], 'scheduledAt is "2026-01-01"'],
    ['no options', ['job', 0], 'the options of claimFire is undefined'],
    ['no atMostMs', ['job', 0, {}], 'atMostMs is undefined'],
    ['an atMostMs below 10', ['job', 0, { atMostMs: 9 }], 'atMostMs is 9'],
    ['a maxSkewMs below 0', ['job', 0, { atMostMs, maxSkewMs: -1 }], 'maxSkewMs is -1'],
    ['a misspelt option', ['job', 0, { atMostMs, ttlMs: 1 }], 'claimFire has no option "ttlMs"'],
  ])('are checked before anything is sent: %s', async (_, args, message) => {
    const { on, locks } = scheduled()
    const error = await failureOf(() => callUntyped(locks, 'claimFire', args))
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringContaining(message) })
    expect(on.lock.calls).toEqual([])
  })
})

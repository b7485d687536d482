import type { FireReply, JobDriver } from '@multinode/core'
import { expect } from 'vitest'
import type { LockCase } from './lock-case.ts'
import { callMs, type LockWorld } from './lock-world.ts'
import { withoutJobs } from './skip-reasons.ts'
import { untilReply } from './waiting.ts'

const maxSkewMs = 60_000

/** Claims a fire of `job`, `dueMs` after the start of the schedule, which was an hour ago. */
type Claim = (
  jobs: JobDriver,
  owner: string,
  dueMs: number,
  options?: { atMostMs?: number },
) => Promise<FireReply>

function schedule(): Claim {
  const startMs = Date.now() - 3_600_000
  return (jobs, owner, dueMs, { atMostMs = 600_000 } = {}) =>
    jobs.claim({ job: 'job', owner, scheduledAtMs: startMs + dueMs, atMostMs, maxSkewMs }, callMs)
}

async function jobsOf(world: LockWorld): Promise<JobDriver> {
  const { jobs } = await world.driver()
  if (jobs === undefined) throw new Error('the driver has no jobs')
  return jobs
}

function tokenOf(reply: FireReply): number {
  expect(reply.status).toBe('run')
  return reply.status === 'run' ? reply.token : 0
}

/** Scheduled jobs: who runs a fire. */
export const jobCases: readonly LockCase[] = [
  {
    name: 'of all nodes that claim a fire at the same time one runs it, and for the others it is a duplicate',
    control: 'job-runs-for-everyone',
    skip: withoutJobs,
    async run(world) {
      const claim = schedule()
      const nodes = await Promise.all(Array.from({ length: 4 }, () => jobsOf(world)))
      const claims = nodes.flatMap((jobs) => [0, 1, 2].map(() => claim(jobs, world.owner(), 0)))
      const statuses = (await Promise.all(claims)).map(({ status }) => status)
      expect(statuses.filter((status) => status === 'run')).toHaveLength(1)
      expect(statuses.filter((status) => status === 'duplicate')).toHaveLength(11)
    },
  },
  {
    name: 'a fire that is done is a duplicate for every node',
    control: 'job-forgets-its-last-fire',
    skip: withoutJobs,
    async run(world) {
      const claim = schedule()
      const [here, there] = [await jobsOf(world), await jobsOf(world)]
      const owner = world.owner()
      tokenOf(await claim(here, owner, 0))
      expect(await here.done('job', owner, callMs)).toBe('released')
      for (const jobs of [here, there]) {
        expect(await claim(jobs, world.owner(), 0)).toEqual({ status: 'duplicate' })
      }
    },
  },
  {
    name: 'a fire before the last one is a duplicate, while that one runs and when it is done',
    control: 'job-fires-apart',
    skip: withoutJobs,
    async run(world) {
      const claim = schedule()
      const jobs = await jobsOf(world)
      const owner = world.owner()
      tokenOf(await claim(jobs, owner, 60_000))
      expect(await claim(jobs, world.owner(), 0)).toEqual({ status: 'duplicate' })
      await jobs.done('job', owner, callMs)
      expect(await claim(jobs, world.owner(), 59_999)).toEqual({ status: 'duplicate' })
    },
  },
  {
    name: 'the next fire is busy while one runs, and can be claimed when that is done',
    control: 'job-done-does-nothing',
    skip: withoutJobs,
    async run(world) {
      const claim = schedule()
      const [here, there] = [await jobsOf(world), await jobsOf(world)]
      const [owner, next] = [world.owner(), world.owner()]
      await claim(here, owner, 0)
      const busy = await claim(there, next, 60_000)
      expect(busy.status).toBe('busy')
      expect(busy.status === 'busy' && busy.retryAfterMs > 0 && busy.retryAfterMs <= 600_000).toBe(true)
      await here.done('job', owner, callMs)
      expect(await claim(there, next, 60_000)).toMatchObject({ status: 'run' })
    },
  },
  {
    name: 'two fires never run at the same time',
    control: 'job-fires-apart',
    skip: withoutJobs,
    async run(world) {
      const claim = schedule()
      const nodes = [await jobsOf(world), await jobsOf(world)]
      const claims = nodes.flatMap((jobs) =>
        [0, 1, 2].map((fire) => claim(jobs, world.owner(), fire * 60_000)),
      )
      const statuses = (await Promise.all(claims)).map(({ status }) => status)
      expect(statuses.filter((status) => status === 'run')).toHaveLength(1)
    },
  },
  {
    name: 'a run that nobody ends lets the next fire begin after atMostMs, and not before',
    control: 'job-run-has-no-end',
    skip: withoutJobs,
    async run(world) {
      const claim = schedule()
      const [here, there] = [await jobsOf(world), await jobsOf(world)]
      const [killed, next] = [world.owner(), world.owner()]
      const startedAt = performance.now()
      await claim(here, killed, 0, { atMostMs: 400 })
      await untilReply(
        () => claim(there, next, 60_000),
        ({ status }) => status === 'run',
      )
      expect(performance.now() - startedAt).toBeGreaterThan(390)
      expect(await here.done('job', killed, callMs)).toBe('not-owner')
    },
  },
  {
    name: 'a fire too far ahead of the clock of the backend is early, and uses nothing up',
    control: 'job-accepts-every-fire',
    skip: withoutJobs,
    async run(world) {
      const claim = schedule()
      const jobs = await jobsOf(world)
      const owner = world.owner()
      const early = await claim(jobs, owner, 365 * 86_400_000)
      expect(early.status).toBe('early')
      expect(early.status === 'early' && Number.isSafeInteger(Math.floor(early.backendMs))).toBe(true)
      expect(await claim(jobs, owner, 0)).toMatchObject({ status: 'run' })
    },
  },
  {
    name: 'repeating a claim as the same owner gives the same run',
    control: 'job-repeat-is-refused',
    skip: withoutJobs,
    async run(world) {
      const claim = schedule()
      const jobs = await jobsOf(world)
      const owner = world.owner()
      const first = await claim(jobs, owner, 0)
      expect(first.status).toBe('run')
      expect(await claim(jobs, owner, 0)).toEqual(first)
    },
  },
  {
    name: 'a copy of a claim that arrives after the run is done begins nothing again',
    control: 'job-copy-begins-again',
    skip: withoutJobs,
    async run(world) {
      const claim = schedule()
      const jobs = await jobsOf(world)
      const owner = world.owner()
      await claim(jobs, owner, 0)
      await jobs.done('job', owner, callMs)
      expect(await claim(jobs, owner, 0)).toEqual({ status: 'duplicate' })
      expect(await claim(jobs, world.owner(), 60_000)).toMatchObject({ status: 'run' })
    },
  },
  {
    name: 'every run of a job has a greater token than all before it',
    control: 'job-token-repeats',
    skip: withoutJobs,
    async run(world) {
      const claim = schedule()
      const nodes = [await jobsOf(world), await jobsOf(world)]
      const tokens: number[] = []
      for (let fire = 0; fire < 6; fire += 1) {
        for (const [index, jobs] of nodes.entries()) {
          const owner = world.owner()
          tokens.push(tokenOf(await claim(jobs, owner, fire * 60_000 + index)))
          await jobs.done('job', owner, callMs)
        }
      }
      expect(tokens.every((token) => Number.isSafeInteger(token))).toBe(true)
      expect(tokens).toEqual([...new Set(tokens)].sort((a, b) => a - b))
    },
  },
  {
    name: 'an extended run goes on for as long as it was extended',
    control: 'job-extend-does-nothing',
    skip: withoutJobs,
    async run(world) {
      const claim = schedule()
      const jobs = await jobsOf(world)
      const owner = world.owner()
      await claim(jobs, owner, 0, { atMostMs: 10_000 })
      expect(await jobs.extend('job', owner, 600_000, callMs)).toBe('extended')
      const next = await claim(jobs, world.owner(), 60_000)
      expect(next.status === 'busy' && next.retryAfterMs > 300_000).toBe(true)
    },
  },
  {
    name: 'extend and done say what they found, and end no run of another owner',
    control: 'job-ignores-owner',
    skip: withoutJobs,
    async run(world) {
      const claim = schedule()
      const jobs = await jobsOf(world)
      const [owner, stranger] = [world.owner(), world.owner()]
      expect(await jobs.extend('job', owner, 10_000, callMs)).toBe('expired')
      expect(await jobs.done('job', owner, callMs)).toBe('expired')
      await claim(jobs, owner, 0)
      expect(await jobs.extend('job', stranger, 10_000, callMs)).toBe('not-owner')
      expect(await jobs.done('job', stranger, callMs)).toBe('not-owner')
      expect(await jobs.done('job', owner, callMs)).toBe('released')
      expect(await jobs.extend('job', owner, 10_000, callMs)).toBe('expired')
    },
  },
]

import { describe, expect, test } from 'vitest'
import type { MemoryJob } from '../../src/queue/memory-line.ts'
import type { JobPriority } from '../../src/queue/queue-driver.ts'
import { WaitingJobs } from '../../src/queue/waiting-jobs.ts'
import { record } from './queue-on.ts'

function waiting(id: string, priority: JobPriority = 'normal'): MemoryJob {
  return {
    record: record({ id }),
    priority,
    dedupeKey: undefined,
    state: 'waiting',
    move: 1,
    dueMs: 0,
    waitsSinceMs: 0,
    attempt: 1,
    crashes: 0,
    wasStarted: false,
    progress: undefined,
    failure: undefined,
  }
}

function allOf(jobs: WaitingJobs): string[] {
  const ids: string[] = []
  for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) ids.push(job.record.id)
  return ids
}

describe('waiting jobs', () => {
  test('come in the order in which they went in, those of a higher priority before all others', () => {
    const jobs = new WaitingJobs()
    expect([jobs.first(), jobs.shift()]).toEqual([undefined, undefined])
    for (const [id, priority] of [
      ['l1', 'low'],
      ['n1', 'normal'],
      ['h1', 'high'],
      ['n2', 'normal'],
      ['h2', 'high'],
      ['l2', 'low'],
    ] as const) {
      jobs.push(waiting(id, priority))
    }
    expect(jobs.first()?.record.id).toBe('h1')
    expect(allOf(jobs)).toEqual(['h1', 'h2', 'n1', 'n2', 'l1', 'l2'])
  })

  test('that were taken out are passed over, and one that came back counts where it came back', () => {
    const jobs = new WaitingJobs()
    const [a, b, c] = [waiting('a'), waiting('b'), waiting('c')]
    for (const job of [a, b, c]) jobs.push(job)
    b.state = 'gone'
    a.move = 2
    jobs.push(a)
    expect(jobs.first()).toBe(c)
    expect(allOf(jobs)).toEqual(['c', 'a'])
  })

  test('that were taken out are let go of', () => {
    const jobs = new WaitingJobs()
    const all = Array.from({ length: 100 }, (_, index) => waiting(String(index)))
    for (const job of all) jobs.push(job)
    for (const job of all.slice(0, 98)) job.state = 'gone'
    expect(jobs.entries).toBe(100)
    jobs.compact()
    expect(jobs.entries).toBe(2)
    expect(allOf(jobs)).toEqual(['98', '99'])
    expect(jobs.entries).toBe(0)
  })

  test('stay in order over 10,000 that come and go', () => {
    const jobs = new WaitingJobs()
    const seen: string[] = []
    for (let round = 0; round < 10_000; round += 1) {
      jobs.push(waiting(String(round)))
      const job = round > 3_000 ? jobs.shift() : undefined
      if (job !== undefined) seen.push(job.record.id)
    }
    seen.push(...allOf(jobs))
    expect(seen).toEqual(Array.from({ length: 10_000 }, (_, index) => String(index)))
  })
})

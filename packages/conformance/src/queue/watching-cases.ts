import { RetryLater } from '@multinode/core'
import { expect } from 'vitest'
import { Gate, soon, until, untilEmpty } from './handling.ts'
import type { QueueCase } from './queue-case.ts'

/** What an app is told. */
export const watchingCases: readonly QueueCase[] = [
  {
    name: 'events say what happens to each job on this node, in order, and nothing of other nodes',
    control: 'attempt-counts-deliveries',
    async run(world) {
      const [adder, runner] = [await world.node(), await world.node()]
      const options = { attempts: 2, backoff: soon }
      const queue = runner.queues.open<string>('jobs', options)
      const told: unknown[][] = []
      queue.on('active', ({ attempt }) => void told.push(['active', attempt]))
      queue.on('completed', ({ attempt }) => void told.push(['completed', attempt]))
      queue.on('failed', ({ attempt, error, willRetry }) => {
        told.push(['failed', attempt, error instanceof Error ? error.message : '', willRetry])
      })
      queue.on('retry', ({ attempt, delayMs }) => void told.push(['retry', attempt, delayMs]))
      queue.on('dead', ({ attempt, reason }) => void told.push(['dead', attempt, reason]))
      queue.on('expired', () => void told.push(['expired']))
      const adding = adder.queues.open<string>('jobs', options)
      const elsewhere: unknown[] = []
      for (const name of ['active', 'completed', 'failed'] as const) {
        adding.on(name, (event) => void elsewhere.push(event))
      }
      let laters = 0
      const gate = new Gate()
      await queue.process(async (job) => {
        if (job.payload === 'dead') throw new Error(`no ${job.attempt}`)
        if (job.payload === 'later' && (laters += 1) === 1) throw new RetryLater(30)
        if (job.payload === 'slow') await gate.pass(job)
      })
      const settled = (...names: string[]): boolean => names.includes(String(told.at(-1)?.[0]))
      await adding.add('fine')
      await until('it completed', () => settled('completed'))
      await adding.add('dead')
      await until('it is dead', () => settled('dead'))
      await adding.add('later')
      await until('it completed', () => settled('completed') && laters === 2)
      await adding.add('slow')
      await until('it runs', () => gate.arrived.length === 1)
      await adding.add('expires', { expiresInMs: 1 })
      await untilLater(20)
      gate.open()
      await until('the last one expired', () => settled('expired'))
      expect(told).toEqual([
        ['active', 1],
        ['completed', 1],
        ['active', 1],
        ['failed', 1, 'no 1', true],
        ['retry', 1, 20],
        ['active', 2],
        ['failed', 2, 'no 2', false],
        ['dead', 2, 'failed'],
        ['active', 1],
        ['retry', 1, 30],
        ['active', 1],
        ['completed', 1],
        ['active', 1],
        ['completed', 1],
        ['expired'],
      ])
      expect(elsewhere).toEqual([])
    },
  },
  {
    name: 'a listener that throws or rejects is reported, and keeps neither the job nor other listeners from anything',
    control: 'done-is-done-again',
    async run(world) {
      const node = await world.node()
      const queue = node.queues.open('jobs')
      const told: string[] = []
      queue.on('active', () => {
        throw new Error('a listener threw')
      })
      queue.on('completed', () => Promise.reject(new Error('a listener rejected')))
      queue.on('completed', ({ id }) => void told.push(id))
      let runs = 0
      await queue.process(() => void (runs += 1))
      const { id } = await queue.add('job')
      await until('it completed', () => told.length > 0)
      await untilEmpty(queue)
      expect([told, runs]).toEqual([[id], 1])
      await until('both are reported', () => node.reported.length >= 2)
      expect(node.reported.map((error) => (error instanceof Error ? error.message : ''))).toEqual(
        expect.arrayContaining(['a listener threw', 'a listener rejected']),
      )
    },
  },
  {
    name: 'stats count what this node added, completed, tried again, gave up and let expire, and what runs',
    control: 'attempt-counts-deliveries',
    async run(world) {
      const [adder, runner] = [await world.node(), await world.node()]
      const queue = adder.queues.open<string>('jobs')
      const gate = new Gate()
      let laters = 0
      await runner.queues.open<string>('jobs').process(async (job) => {
        if (job.payload === 'dead') throw new Error('dead')
        if (job.payload === 'later' && (laters += 1) === 1) throw new RetryLater(20)
        if (job.payload === 'later' && job.attempt !== 1) throw new Error('an attempt was used up')
        if (job.payload === 'slow') await gate.pass(job)
      })
      await queue.add('fine')
      await queue.add('dead', { attempts: 3, backoff: soon })
      await queue.add('later', { attempts: 1 })
      const isAt = (dead: number, completed: number): boolean => {
        const stats = runner.queues.stats()
        return stats.dead === dead && stats.completed === completed
      }
      await until('three have ended', () => isAt(1, 2))
      await queue.add('slow')
      await until('it runs', () => runner.queues.stats().running === 1)
      await queue.add('expires', { expiresInMs: 1 })
      await untilLater(20)
      gate.open()
      await until('it expired', () => runner.queues.stats().expired === 1)
      expect(adder.queues.stats()).toMatchObject({ added: 5, completed: 0, failed: 0, running: 0 })
      expect(runner.queues.stats()).toMatchObject({
        added: 0,
        completed: 3,
        failed: 3,
        retried: 3,
        dead: 1,
        expired: 1,
        running: 0,
      })
    },
  },
]

async function untilLater(ms: number): Promise<void> {
  const untilMs = Date.now() + ms
  await until('it is later', () => Date.now() > untilMs)
}

import { expect } from 'vitest'
import { refusal, until, withIt } from './handling.ts'
import type { QueueCase } from './queue-case.ts'
import { callMs } from './queue-world.ts'

const unsupported = { name: 'MultinodeError', code: 'UNSUPPORTED', retryable: false }

/** What a backend lacks is an error, and never left out in silence. */
export const unsupportedCases: readonly QueueCase[] = [
  {
    name: 'the driver has what it declares, and declares nothing else',
    control: 'claims-what-it-lacks',
    async run(world) {
      const { driver } = await world.node()
      const { features } = driver
      expect(['process', 'cluster']).toContain(features.scope)
      expect(features.persistence.length).toBeGreaterThan(0)
      expect(features.delayStepMs).toBeGreaterThan(0)
      expect(features.lateAfterCrashMs).toBeGreaterThanOrEqual(0)
      expect(features.maxBytes).toBeGreaterThanOrEqual(65_536)
      expect(features.maxConcurrency).toBeGreaterThanOrEqual(1)
      const line = await driver.open({ name: 'jobs', hasPriorities: false }, callMs)
      expect([line.get !== undefined, line.remove !== undefined]).toEqual([features.lookup, features.lookup])
      expect(line.pauseAll !== undefined).toBe(features.clusterPause)
    },
  },
  {
    name: 'dedupe is UNSUPPORTED where the driver has none, and nothing is added',
    control: 'claims-what-it-lacks',
    skip: withIt('dedupe'),
    async run(world) {
      const node = await world.node()
      const queue = node.queues.open<string>('jobs')
      const seen: unknown[] = []
      await queue.process(({ payload }) => void seen.push(payload))
      const options = { dedupe: { key: 'key' } }
      expect(await refusal(queue.add('one', options))).toMatchObject(unsupported)
      const results = await queue.addMany([{ payload: 'two', options }, { payload: 'three' }])
      expect(results).toMatchObject([{ status: 'failed', error: unsupported }, { status: 'added' }])
      await until('the one without ran', () => seen.length > 0)
      expect(seen).toEqual(['three'])
    },
  },
  {
    name: 'get is UNSUPPORTED where the driver cannot look jobs up',
    control: 'claims-what-it-lacks',
    skip: withIt('lookup'),
    async run(world) {
      const queue = (await world.node()).queues.open('jobs')
      const { id } = await queue.add('job')
      expect(await refusal(queue.get(id))).toMatchObject(unsupported)
    },
  },
  {
    name: 'cancel is UNSUPPORTED where the driver cannot look jobs up, and the job runs',
    control: 'claims-what-it-lacks',
    skip: withIt('lookup'),
    async run(world) {
      const queue = (await world.node()).queues.open('jobs')
      const { id } = await queue.add('job')
      expect(await refusal(queue.cancel(id))).toMatchObject(unsupported)
      const seen: unknown[] = []
      await queue.process(({ payload }) => void seen.push(payload))
      await until('it ran', () => seen.length === 1)
    },
  },
  {
    name: 'progress is UNSUPPORTED where the driver cannot store it',
    control: 'claims-what-it-lacks',
    skip: withIt('progress'),
    async run(world) {
      const queue = (await world.node()).queues.open('jobs')
      const errors: unknown[] = []
      await queue.process(async (job) => {
        errors.push(await refusal(Promise.resolve().then(() => job.progress(50))))
      })
      await queue.add('job')
      await until('it ran', () => errors.length === 1)
      expect(errors).toMatchObject([unsupported])
    },
  },
  {
    name: 'pause and resume of the cluster are UNSUPPORTED where the driver cannot, and jobs go on',
    control: 'claims-what-it-lacks',
    skip: withIt('clusterPause'),
    async run(world) {
      const queue = (await world.node()).queues.open('jobs')
      expect(await refusal(queue.pause('cluster'))).toMatchObject(unsupported)
      expect(await refusal(queue.resume('cluster'))).toMatchObject(unsupported)
      const seen: unknown[] = []
      await queue.process(({ payload }) => void seen.push(payload))
      await queue.add('job')
      await until('it ran', () => seen.length === 1)
    },
  },
  {
    name: 'drain is UNSUPPORTED where the driver has no exact counts',
    control: 'claims-what-it-lacks',
    skip: withIt('exactCounts'),
    async run(world) {
      const queue = (await world.node()).queues.open('jobs')
      expect(await refusal(queue.drain({ timeoutMs: 200 }))).toMatchObject(unsupported)
    },
  },
]

import type { Queue } from '@multinode/core'
import { expect } from 'vitest'
import { addAll, Gate, quietMs, range, refusal, sorted, until, untilEmpty } from './handling.ts'
import { setTimeout as sleep } from 'node:timers/promises'
import type { QueueCase } from './queue-case.ts'

/**
 * A worker that has a job, so that all that is added meanwhile waits for it: one that only begins then might get jobs from the places of some priorities before it is
 * connected to the others.
 * @returns ends that job, and tells the payloads of so many that ran after it, in order
 */
async function busyWorker(queue: Queue<string>) {
  const gate = new Gate()
  const seen: string[] = []
  await queue.process(async (job) => {
    if (gate.arrived.length === 0) return gate.pass(job)
    seen.push(job.payload)
    // Long enough for the next ones to arrive, whatever their priority.
    await sleep(20)
  })
  await queue.add('busy')
  await until('it is busy', () => gate.arrived.length === 1)
  const ranThen = async (count: number): Promise<string[]> => {
    gate.open()
    await until('all ran', () => seen.length === count)
    return seen
  }
  return { ranThen }
}

/** Who runs what, and in which order. */
export const deliveryCases: readonly QueueCase[] = [
  {
    name: '1,000 jobs of one publisher run in their order when one runs at a time',
    control: 'swaps-neighbours',
    async run(world) {
      const [adder, runner] = [await world.node(), await world.node()]
      const queue = adder.queues.open<number>('jobs')
      const seen: unknown[] = []
      await runner.queues.open('jobs').process(({ payload }) => void seen.push(payload))
      for (const first of range(0, 9).map((hundred) => hundred * 100)) {
        await addAll(queue, range(first, first + 89))
        for (const payload of range(first + 90, first + 99)) await queue.add(payload)
      }
      await until('all arrived', () => seen.length >= 1_000)
      expect(seen).toEqual(range(0, 999))
    },
  },
  {
    name: 'each of 600 jobs runs on one of three nodes, and once',
    control: 'delivers-twice',
    async run(world) {
      const all = await world.nodes(3)
      const seen: unknown[] = []
      for (const { queues } of all) {
        await queues.open('jobs').process(({ payload }) => void seen.push(payload), { concurrency: 5 })
      }
      const adding = all.map(({ queues }, index) =>
        addAll(queues.open<number>('jobs'), range(index * 200, index * 200 + 199)),
      )
      await Promise.all(adding)
      await until('all arrived', () => seen.length >= 600)
      for (const { queues } of all) await untilEmpty(queues.open('jobs'))
      expect(sorted(seen)).toEqual(range(0, 599))
    },
  },
  {
    name: 'all workers of all nodes take part, also two of one node',
    control: 'one-worker-takes-all',
    async run(world) {
      const [one, two, three] = [await world.node(), await world.node(), await world.node()]
      const gates = range(1, 4).map(() => new Gate())
      for (const [index, { queues }] of [one, two, three, three].entries()) {
        const gate = gates[index] ?? new Gate()
        await queues.open('jobs').process(gate.pass)
      }
      await addAll(one.queues.open<number>('jobs'), range(1, 4))
      await until('each runs one', () => gates.every(({ arrived }) => arrived.length === 1))
      expect(sorted(gates.flatMap(({ arrived }) => arrived))).toEqual([1, 2, 3, 4])
      for (const gate of gates) gate.open()
    },
  },
  {
    name: 'a worker runs as many jobs at once as it may, and never more',
    control: 'one-more-than-allowed',
    async run(world) {
      const node = await world.node()
      const queue = node.queues.open<number>('jobs')
      await addAll(queue, range(1, 60))
      let [running, most, done] = [0, 0, 0]
      const handler = async (): Promise<void> => {
        running += 1
        most = Math.max(most, running)
        // Long enough for the others to begin, though a server is asked for each.
        await sleep(30)
        running -= 1
        done += 1
      }
      await queue.process(handler, { concurrency: 4, prefetch: 8 })
      await until('all ran', () => done === 60)
      expect(most).toBe(4)
    },
  },
  {
    name: 'concurrency 0 is as many as the driver allows, and more than that is refused',
    control: 'concurrency-is-one',
    async run(world) {
      const node = await world.node()
      const { maxConcurrency } = node.driver.features
      const count = Math.min(50, maxConcurrency)
      const queue = node.queues.open<number>('jobs')
      const gate = new Gate()
      const refused = await refusal(queue.process(gate.pass, { concurrency: maxConcurrency + 1 }))
      expect(refused).toMatchObject({ code: 'INVALID_ARGUMENT' })
      await queue.process(gate.pass, { concurrency: 0 })
      await addAll(queue, range(1, count))
      await until('all run at once', () => gate.arrived.length === count)
      gate.open()
    },
  },
  {
    name: 'what waits runs high before normal before low, as far as the backend can tell',
    control: 'priority-is-forgotten',
    async run(world) {
      const [adder, runner] = [await world.node(), await world.node()]
      const queue = adder.queues.open<string>('jobs', { priorities: true })
      const busy = await busyWorker(runner.queues.open<string>('jobs', { priorities: true }))
      for (const priority of ['low', 'normal', 'high'] as const) {
        for (let index = 0; index < 10; index += 1) await queue.add(priority, { priority })
      }
      const seen = await busy.ranThen(30)
      const placeSum = (priority: string): number =>
        seen.reduce((sum, each, place) => (each === priority ? sum + place : sum), 0)
      // A backend with a queue for each takes turns with weights, so a low one may run between high ones.
      expect(placeSum('high')).toBeLessThan(placeSum('normal'))
      expect(placeSum('normal')).toBeLessThan(placeSum('low'))
      expect(seen.lastIndexOf('high')).toBeLessThan(seen.lastIndexOf('low'))
    },
  },
  {
    name: 'jobs without a priority are normal ones, and a queue without priorities refuses them',
    control: 'priority-is-forgotten',
    async run(world) {
      const node = await world.node()
      const plain = node.queues.open<string>('plain')
      const error = await refusal(plain.add('a', { priority: 'high' }))
      expect(error).toMatchObject({ code: 'INVALID_ARGUMENT' })
      const queue = node.queues.open<string>('jobs', { priorities: true })
      const busy = await busyWorker(queue)
      for (let index = 0; index < 10; index += 1) await queue.add('low', { priority: 'low' })
      for (let index = 0; index < 10; index += 1) await queue.add('none')
      const seen = await busy.ranThen(20)
      expect(seen.lastIndexOf('none')).toBeLessThan(seen.lastIndexOf('low'))
    },
  },
  {
    name: 'a queue that was used before keeps what nobody took, for whoever comes later',
    control: 'loses-every-seventh',
    async run(world) {
      const adder = await world.node()
      await addAll(adder.queues.open<number>('jobs'), range(1, 20))
      // Holds on to what was added while its node ends: the last one on memory would take all with it.
      const runner = await world.node()
      await adder.close()
      await sleep(quietMs)
      const seen: unknown[] = []
      await runner.queues.open('jobs').process(({ payload }) => void seen.push(payload))
      await until('all ran', () => seen.length === 20)
      expect(seen).toEqual(range(1, 20))
    },
  },
]

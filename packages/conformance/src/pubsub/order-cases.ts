import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import type { PubSubCase } from './pubsub-case.ts'
import { type LowNode, type PubSubWorld, signalsOf } from './pubsub-world.ts'
import { publish, range } from './publishing.ts'
import { faultless, SetChecker } from './set-checker.ts'
import { until } from './until.ts'

async function withoutTotalOrder(world: PubSubWorld): Promise<string | undefined> {
  const { driver } = await world.stranger()
  return driver.features.order === 'total'
    ? undefined
    : 'the backend promises the order of each publisher only'
}

function nodes<T>(count: number, make: () => Promise<T>): Promise<T[]> {
  return Promise.all(range(1, count).map(make))
}

/** Source and sequence of each signal, in order. */
function orderOf(node: LowNode): string[] {
  return signalsOf(node).map(({ source, sequence }) => `${source} ${sequence}`)
}

/** In which order signals arrive. */
export const orderCases: readonly PubSubCase[] = [
  {
    name: 'what one node publishes arrives in that order, in one request and over many',
    control: 'swaps-neighbours',
    async run(world) {
      const [publisher, reader] = [await world.lowNode(), await world.lowNode()]
      await publish(publisher, range(1, 256))
      for (const sequence of range(257, 300)) await publish(publisher, [sequence])
      await until('all arrived', () => signalsOf(reader).length === 300)
      expect(signalsOf(reader).map(({ sequence }) => sequence)).toEqual(range(1, 300))
    },
  },
  {
    name: 'all nodes see the signals of all nodes in one and the same order',
    control: 'orders-differ',
    skip: withoutTotalOrder,
    async run(world) {
      const all = await nodes(4, () => world.lowNode())
      for (const first of [1, 51, 101]) {
        await Promise.all(all.map((node) => publish(node, range(first, first + 49))))
      }
      await until('all arrived', () => all.every((node) => signalsOf(node).length === 600))
      const [one = [], ...others] = all.map(orderOf)
      for (const other of others) expect(other).toEqual(one)
      for (const { incarnation } of all) {
        const own = one.filter((each) => each.startsWith(incarnation))
        expect(own).toEqual(range(1, 150).map((sequence) => `${incarnation} ${sequence}`))
      }
    },
  },
  {
    name: 'a node that is busy with what it received is given nothing more before it is done',
    control: 'does-not-wait',
    async run(world) {
      let done = (): void => {}
      const isDone = new Promise<void>((resolve) => {
        done = resolve
      })
      let atOnce = 0
      let mostAtOnce = 0
      const work = async (): Promise<void> => {
        atOnce += 1
        mostAtOnce = Math.max(mostAtOnce, atOnce)
        await isDone
        atOnce -= 1
      }
      const [publisher, busy, idle] = [
        await world.lowNode(),
        await world.lowNode({ work }),
        await world.lowNode(),
      ]
      try {
        await publish(publisher, [1])
        await until('one is busy', () => atOnce === 1)
        for (const sequence of range(2, 20)) await publish(publisher, [sequence])
        await until('the idle one has them all', () => signalsOf(idle).length === 20)
        expect(signalsOf(busy)).toHaveLength(1)
      } finally {
        // A driver can only be closed when nobody is busy.
        done()
      }
      await until('the busy one has them all', () => signalsOf(busy).length === 20)
      expect(signalsOf(busy).map(({ sequence }) => sequence)).toEqual(range(1, 20))
      expect(mostAtOnce).toBe(1)
    },
  },
  {
    name: 'handlers that take 0 to 5 ms see each publisher in order: 1,000 signals on 5 nodes',
    control: 'swaps-neighbours',
    async run(world) {
      const all = await nodes(5, () => world.highNode())
      const checker = new SetChecker()
      for (const node of all) await checker.watch(node, {}, () => sleep(Math.random() * 5))
      const publishers = all.map((node) => checker.publisher(node))
      for (let index = 0; index < 1_000; index += 1) {
        publishers[index % 5]?.()
        if (index % 25 === 0) await sleep(1)
      }
      const found = await checker.findings(all)
      expect(found).toEqual(Array(5).fill({ ...faultless, gaps: 0 }))
    },
  },
  {
    name: 'handlers that take 0 to 5 ms see one and the same order on all nodes',
    control: 'orders-differ',
    skip: withoutTotalOrder,
    async run(world) {
      const all = await nodes(3, () => world.highNode())
      const seen = all.map((): unknown[] => [])
      for (const [index, { pubsub }] of all.entries()) {
        const handler = async ({ payload }: { readonly payload: unknown }): Promise<void> => {
          await sleep(Math.random() * 5)
          seen[index]?.push(payload)
        }
        await pubsub.subscribe('#', handler, { onGap: 'ignore', self: 'include' })
      }
      await Promise.all(
        all.flatMap(({ pubsub, nodeId }) => range(1, 100).map((n) => pubsub.publish('t', `${nodeId} ${n}`))),
      )
      await until('all were handled', () => seen.every(({ length }) => length === 300), 30_000)
      for (const other of seen) expect(other).toEqual(seen[0])
    },
  },
]

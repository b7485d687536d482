import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import type { PubSubCase } from './pubsub-case.ts'
import { gapsOf, type PubSubWorld, signalsOf } from './pubsub-world.ts'
import { asking, publish } from './publishing.ts'
import { faultless, SetChecker } from './set-checker.ts'
import { until } from './until.ts'

/** How soon a node is told, also when nobody publishes. */
const toldWithinMs = 4_000

function cannotLose({ faults }: PubSubWorld): string | undefined {
  return faults.loseState === undefined ? 'the harness cannot lose state' : undefined
}

/** What happens when the backend forgot everything. */
export const lostStateCases: readonly PubSubCase[] = [
  {
    name: 'every node is told of a gap within 4 s after the backend lost its state, though nobody publishes',
    control: 'gap-is-not-told',
    skip: cannotLose,
    async run(world) {
      const [publisher, ...readers] = [await world.lowNode(), await world.lowNode(), await world.lowNode()]
      await publish(publisher, [1, 2, 3])
      const all = [publisher, ...readers]
      await until('all arrived', () => all.every((node) => signalsOf(node).length === 3))
      await world.faults.loseState?.()
      const areTold = (): boolean => all.every((node) => gapsOf(node).length > 0)
      await until('all are told', areTold, toldWithinMs, asking(publisher))
      for (const node of all) expect(gapsOf(node)).toHaveLength(1)
    },
  },
  {
    name: 'so is a node that has not received anything yet',
    control: 'gap-is-not-told',
    skip: cannotLose,
    async run(world) {
      const node = await world.lowNode()
      await world.faults.loseState?.()
      await until('it is told', () => gapsOf(node).length > 0, toldWithinMs, asking(node))
    },
  },
  {
    name: 'after a gap signals arrive as before, of those who were there and of newcomers',
    control: 'is-deaf-after-a-gap',
    skip: cannotLose,
    async run(world) {
      const [publisher, reader] = [await world.lowNode(), await world.lowNode()]
      await publish(publisher, [1, 2])
      await until('both arrived', () => signalsOf(reader).length === 2)
      await world.faults.loseState?.()
      await until('it is told', () => gapsOf(reader).length > 0, toldWithinMs, asking(reader))
      expect(await publish(publisher, [3])).toEqual({ accepted: 1 })
      expect(await publish(await world.lowNode(), [1])).toEqual({ accepted: 1 })
      await until('both arrived', () => signalsOf(reader).length === 4)
      expect(gapsOf(reader)).toHaveLength(1)
    },
  },
  {
    name: 'the nodes see each other again within 4 s after the backend lost its state',
    control: 'sees-itself-only',
    skip: cannotLose,
    async run(world) {
      const all = [await world.lowNode(), await world.lowNode(), await world.lowNode()]
      await world.faults.loseState?.()
      const newcomer = await world.lowNode()
      const seeAll = (): boolean => [...all, newcomer].every(({ members }) => members().length === 4)
      await until('all see all', seeAll, toldWithinMs, asking(newcomer))
    },
  },
  {
    name: 'what is lost with the state under traffic is lost for nobody who was not told',
    control: 'loses-in-silence',
    skip: cannotLose,
    async run(world) {
      const all = [await world.highNode(), await world.highNode(), await world.highNode()]
      const checker = new SetChecker()
      for (const node of all) await checker.watch(node)
      const publishers = all.map((node) => checker.publisher(node))
      for (let round = 0; round < 5; round += 1) {
        for (let index = 0; index < 300; index += 1) {
          publishers[index % 3]?.()
          if (index % 10 === 0) await sleep(1)
          if (index === 150) await world.faults.loseState?.()
        }
      }
      const found = await checker.findings(all)
      expect(found).toEqual(found.map(({ gaps }) => ({ ...faultless, gaps })))
      for (const { gaps } of found) expect(gaps).toBeGreaterThan(0)
    },
  },
]

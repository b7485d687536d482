import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import type { PubSubCase } from './pubsub-case.ts'
import { callMs, type LowNode, signalsOf } from './pubsub-world.ts'
import { asking, publish, range } from './publishing.ts'
import { until } from './until.ts'

/** How soon a node that comes or goes is seen. */
const soonMs = 1_000

function incarnations(node: LowNode): string[] {
  return node.members().map(({ incarnation }) => incarnation)
}

/** Who is there. */
export const memberCases: readonly PubSubCase[] = [
  {
    name: 'a node sees itself as soon as it has joined, and within a second who came before it, and is seen by them',
    control: 'sees-itself-only',
    async run(world) {
      const first = await world.lowNode()
      expect(incarnations(first)).toEqual([first.incarnation])
      const second = await world.lowNode()
      const both = [first.incarnation, second.incarnation].sort()
      expect(incarnations(second)).toContain(second.incarnation)
      for (const node of [first, second]) {
        await until('it sees both', () => incarnations(node).length === 2, soonMs, asking(node))
        expect(incarnations(node).sort()).toEqual(both)
      }
    },
  },
  {
    name: 'a member is shown with its name, its metadata, and since when',
    control: 'forgets-metadata',
    async run(world) {
      const metadata = { role: 'worker', weights: [1, 2.5], text: 'ä\u{1F512}"\n', deep: { nothing: null } }
      const before = await world.lowNode({ metadata: { sinceMs: 0 } })
      const node = await world.lowNode({ metadata })
      const all = [before, node]
      const seeBoth = (): boolean => all.every((each) => incarnations(each).length === 2)
      await until('both are seen', seeBoth, soonMs, asking(node))
      for (const { members } of all) {
        const [first, second] = [before, node].map(({ incarnation }) =>
          members().find((each) => each.incarnation === incarnation),
        )
        expect(first).toMatchObject({ nodeId: before.nodeId, metadata: { sinceMs: 0 } })
        expect(second).toMatchObject({ nodeId: node.nodeId, incarnation: node.incarnation, metadata })
        expect(second?.sinceMs).toBeGreaterThan(Date.UTC(2020, 0, 1))
        expect(second?.sinceMs).toBeGreaterThanOrEqual(first?.sinceMs ?? Infinity)
      }
    },
  },
  {
    name: 'two nodes of one name are two members, and both get everything',
    control: 'one-node-a-name',
    async run(world) {
      const [one, two] = [await world.lowNode({ nodeId: 'same' }), await world.lowNode({ nodeId: 'same' })]
      const seeBoth = (): boolean => [one, two].every((node) => node.members().length === 2)
      await until('both are seen', seeBoth, soonMs, asking(one))
      await publish(one, [1])
      await publish(two, [1])
      await until('all arrived', () => [one, two].every((node) => signalsOf(node).length === 2))
    },
  },
  {
    name: 'a node that leaves is gone for the others within a second',
    control: 'leaves-in-silence',
    async run(world) {
      const [stays, goes] = [await world.lowNode(), await world.lowNode()]
      await until('both are seen', () => incarnations(stays).length === 2, soonMs, asking(stays))
      await goes.driver.leave(callMs)
      await until('one is gone', () => incarnations(stays).length === 1, soonMs, asking(stays))
      expect(incarnations(stays)).toEqual([stays.incarnation])
    },
  },
  {
    name: 'a node that has left is told of nothing',
    control: 'reads-after-leaving',
    async run(world) {
      const [stays, goes] = [await world.lowNode(), await world.lowNode()]
      await publish(stays, [1])
      await until('the first arrived', () => signalsOf(goes).length === 1)
      await goes.driver.leave(callMs)
      await publish(stays, [2])
      await until('the second arrived', () => signalsOf(stays).length === 2)
      const late = await world.lowNode()
      await publish(stays, [3])
      await until('the third arrived', () => signalsOf(late).length === 1)
      expect(signalsOf(goes)).toHaveLength(1)
    },
  },
  {
    name: 'a node that never joined may leave, and one that left may leave again',
    control: 'leave-needs-join',
    async run(world) {
      const [stranger, node] = [await world.stranger(), await world.lowNode()]
      await stranger.driver.leave(callMs)
      await node.driver.leave(callMs)
      await node.driver.leave(callMs)
    },
  },
  {
    name: 'a driver that is closed while it joins, sooner or later, is told of nothing afterwards',
    control: 'stays-open',
    async run(world) {
      const [publisher, observer] = [await world.lowNode(), await world.lowNode()]
      const closed: LowNode[] = []
      for (const afterMs of [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5, 6]) {
        const node = await world.stranger()
        const joining = node.join().catch(() => 'it was closed')
        if (afterMs > 0) await sleep(afterMs)
        await node.driver.close()
        await joining
        closed.push(node)
      }
      await publish(publisher, range(1, 20))
      await until('all arrived', () => signalsOf(observer).length === 20)
      // A newcomer has what comes later, so whoever still reads has it, too.
      const newcomer = await world.lowNode()
      await publish(publisher, [21])
      await until('the last one arrived', () => signalsOf(newcomer).length === 1)
      expect(closed.map((node) => signalsOf(node).length)).toEqual(closed.map(() => 0))
    },
  },
  {
    name: 'closing a driver twice is harmless, joined or not',
    control: 'close-twice-rejects',
    async run(world) {
      for (const { driver } of [await world.stranger(), await world.lowNode()]) {
        await driver.close()
        await driver.close()
      }
    },
  },
]

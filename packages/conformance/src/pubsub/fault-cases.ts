import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { settledWithin } from '../settled-within.ts'
import type { PubSubCase } from './pubsub-case.ts'
import type { PubSubWorld } from './pubsub-world.ts'
import { topic } from './publishing.ts'
import { faultless, SetChecker } from './set-checker.ts'

function cannotFreeze({ faults }: PubSubWorld): string | undefined {
  return faults.freeze === undefined ? 'the harness cannot freeze the server' : undefined
}

function cannotCut({ faults }: PubSubWorld): string | undefined {
  return faults.cutConnections === undefined ? 'the harness cannot cut connections' : undefined
}

/** Runs `during` while the server is silent. */
async function whileFrozen<T>(world: PubSubWorld, during: () => Promise<T>): Promise<T> {
  const thaw = await world.faults.freeze?.()
  try {
    return await during()
  } finally {
    await thaw?.()
  }
}

/** What happens when the server does not answer, or connections break. */
export const faultCases: readonly PubSubCase[] = [
  {
    name: 'every verb settles by its deadline while the server is silent, and joining works afterwards',
    control: 'deadline-is-ignored',
    skip: cannotFreeze,
    async run(world) {
      const [stranger, node, leaver] = [await world.stranger(), await world.lowNode(), await world.lowNode()]
      const receiver = { receive: async () => {}, gap() {}, members() {}, isolated() {}, hearing() {} }
      const request = {
        lane: 0,
        signals: [{ sequence: 1, topic, data: new Uint8Array() }],
        firstUnaccepted: 1,
      }
      const [joined, published, left] = await whileFrozen(world, () =>
        Promise.all([
          settledWithin(2_000, stranger.driver.join(receiver, {}, 200)),
          settledWithin(2_000, node.driver.publish(request, 200)),
          settledWithin(2_000, leaver.driver.leave(200)),
        ]),
      )
      expect(joined).toMatchObject({ name: 'MultinodeError', retryable: true })
      expect(published).toMatchObject({
        accepted: 0,
        failure: { isFinal: false, error: { code: 'TIMEOUT' } },
      })
      expect(left).not.toBe('pending')
      await stranger.join()
      expect(stranger.members().some(({ incarnation }) => incarnation === stranger.incarnation)).toBe(true)
    },
  },
  {
    name: 'ping rejects while the server is silent, and answers afterwards',
    control: 'ping-always-succeeds',
    skip: cannotFreeze,
    async run(world) {
      const { driver } = await world.lowNode()
      const frozen = await whileFrozen(world, () => settledWithin(2_000, driver.ping(200)))
      expect(frozen).toMatchObject({ code: 'TIMEOUT' })
      await driver.ping(2_000)
    },
  },
  {
    name: 'what is published while the server is silent for a while arrives when it answers again, in order and once',
    control: 'claims-what-failed',
    skip: cannotFreeze,
    async run(world) {
      const hasty = { callTimeoutMs: 2_000 }
      const [one, two, reader] = [
        await world.highNode(hasty),
        await world.highNode(hasty),
        await world.highNode(),
      ]
      const checker = new SetChecker()
      await checker.watch(reader)
      const publishers = [checker.publisher(one), checker.publisher(two)]
      const burst = (count: number): void => {
        for (let index = 0; index < count; index += 1) publishers[index % 2]?.()
      }
      burst(50)
      await whileFrozen(world, async () => {
        burst(50)
        // Longer than a call of theirs may take, so that they are not only late.
        await sleep(2_500)
        burst(50)
      })
      burst(50)
      expect(await checker.findings([one, two])).toEqual([{ ...faultless, gaps: 0 }])
      for (const { pubsub } of [one, two]) expect(pubsub.stats().buffered).toBeGreaterThan(0)
    },
  },
  {
    name: 'connections that break ten times under traffic lose nothing, double nothing, and are no gap',
    control: 'loses-in-silence',
    skip: cannotCut,
    async run(world) {
      const all = [await world.highNode(), await world.highNode(), await world.highNode()]
      const checker = new SetChecker()
      for (const node of all) await checker.watch(node)
      const publishers = all.map((node) => checker.publisher(node))
      for (let cut = 0; cut < 10; cut += 1) {
        for (let index = 0; index < 90; index += 1) {
          publishers[index % 3]?.()
          if (index % 10 === 0) await sleep(1)
        }
        await world.faults.cutConnections?.()
      }
      expect(await checker.findings(all)).toEqual(Array(3).fill({ ...faultless, gaps: 0 }))
    },
  },
  {
    name: 'connections that break before the first signal ever lose nothing',
    control: 'joins-too-early',
    skip: cannotCut,
    async run(world) {
      const [publisher, reader] = [await world.highNode(), await world.highNode()]
      const checker = new SetChecker()
      await checker.watch(reader)
      await world.faults.cutConnections?.()
      const next = checker.publisher(publisher)
      for (let index = 0; index < 40; index += 1) next()
      expect(await checker.findings([publisher])).toEqual([{ ...faultless, gaps: 0 }])
    },
  },
]

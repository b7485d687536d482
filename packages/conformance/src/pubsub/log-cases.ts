import { expect } from 'vitest'
import type { PubSubCase } from './pubsub-case.ts'
import { gapsOf, type LowNode, type PubSubWorld, signalsOf } from './pubsub-world.ts'
import { publish, range, send, textOf, topic } from './publishing.ts'
import { until } from './until.ts'

/** Words that a careless driver mixes up, cuts or takes for something of its own. */
const awkwardTopics = [
  'a',
  'a.b',
  'A.b',
  'ä.ö',
  'orders:changed',
  '{orders}.changed',
  'a/b.c%2Fd',
  '__proto__.constructor',
  '-.+.=',
  '0',
  `${'x'.repeat(250)}.yyyy`,
]

/** Resolves when the node has been told of so many signals. */
function arrive(node: LowNode, count: number): Promise<void> {
  return until(`${count} signals arrived`, () => signalsOf(node).length >= count)
}

/** What the node was told up to a last signal, which is published for that: nothing before it can come later. */
async function allOf(publisher: LowNode, reader: LowNode): Promise<string[]> {
  const last = 'last one'
  await send(publisher, [{ sequence: 0, topic, data: new TextEncoder().encode(last) }])
  await until('the last one arrived', () => signalsOf(reader).some((signal) => textOf(signal) === last))
  return signalsOf(reader)
    .map((signal) => textOf(signal))
    .filter((text) => text !== last)
}

function withoutLanes({ harness }: PubSubWorld): string | undefined {
  return harness.pluginWithLanes === undefined ? 'the adapter has one log only' : undefined
}

/** What is accepted, and what arrives of it. */
export const logCases: readonly PubSubCase[] = [
  {
    name: 'the first signal ever, published as soon as the reader has joined, arrives with all that it is',
    control: 'joins-too-early',
    async run(world) {
      const [publisher, reader] = [await world.lowNode(), await world.lowNode()]
      expect(await publish(publisher, [1])).toEqual({ accepted: 1 })
      await arrive(reader, 1)
      const { data, ...others } = signalsOf(reader)[0] ?? { data: new Uint8Array() }
      expect(textOf({ data })).toBe('1')
      expect(others).toEqual({ lane: 0, source: publisher.incarnation, sequence: 1, topic })
      expect(gapsOf(reader)).toEqual([])
    },
  },
  {
    name: '40 nodes that join one after the other each get what is published right after that',
    control: 'joins-too-early',
    async run(world) {
      const publisher = await world.lowNode()
      for (const sequence of range(1, 40)) {
        const reader = await world.lowNode()
        await publish(publisher, [sequence])
        await arrive(reader, 1)
        expect(signalsOf(reader).map(textOf)).toEqual([`${sequence}`])
        await reader.driver.leave(2_000)
      }
    },
  },
  {
    name: 'what was published before a node joined does not reach it',
    control: 'begins-at-the-beginning',
    async run(world) {
      const publisher = await world.lowNode()
      await publish(publisher, [1, 2, 3])
      const reader = await world.lowNode()
      await publish(publisher, [4])
      await arrive(reader, 1)
      expect(signalsOf(reader).map((signal) => [signal.topic, textOf(signal)])).toEqual([[topic, '4']])
    },
  },
  {
    name: 'what a node publishes comes back to itself',
    control: 'skips-its-own',
    async run(world) {
      const node = await world.lowNode()
      await publish(node, [1, 2])
      await arrive(node, 2)
      expect(signalsOf(node).map(({ source }) => source)).toEqual([node.incarnation, node.incarnation])
    },
  },
  {
    name: 'data arrives byte for byte: every byte, none, and what is no text',
    control: 'data-is-text',
    async run(world) {
      const [publisher, reader] = [await world.lowNode(), await world.lowNode()]
      const everyByte = Uint8Array.from({ length: 256 }, (_, index) => index)
      const datas = [
        everyByte,
        new Uint8Array(),
        Uint8Array.of(0),
        Uint8Array.of(0xc3, 0x28, 0xff),
        everyByte.subarray(5, 9),
      ]
      await send(
        publisher,
        datas.map((data, index) => ({ sequence: index + 1, topic, data })),
      )
      await arrive(reader, datas.length)
      expect(signalsOf(reader).map(({ data }) => [...data])).toEqual(datas.map((data) => [...data]))
    },
  },
  {
    name: 'topics of any characters arrive as they are',
    control: 'topic-is-changed',
    async run(world) {
      const [publisher, reader] = [await world.lowNode(), await world.lowNode()]
      const data = new Uint8Array()
      await send(
        publisher,
        awkwardTopics.map((each, index) => ({ sequence: index + 1, topic: each, data })),
      )
      await arrive(reader, awkwardTopics.length)
      expect(signalsOf(reader).map((signal) => signal.topic)).toEqual(awkwardTopics)
    },
  },
  {
    name: 'the longest data that the driver takes arrives whole',
    control: 'long-data-is-cut',
    async run(world) {
      const [publisher, reader] = [await world.lowNode(), await world.lowNode()]
      const { maxDataBytes } = publisher.driver
      expect(maxDataBytes).toBeGreaterThanOrEqual(65_536)
      const data = new Uint8Array(maxDataBytes).map((_, index) => index % 251)
      expect(await send(publisher, [{ sequence: 1, topic, data }])).toEqual({ accepted: 1 })
      await arrive(reader, 1)
      expect(Buffer.compare(signalsOf(reader)[0]?.data ?? new Uint8Array(), data)).toBe(0)
    },
  },
  {
    name: 'a request that is repeated counts as accepted, and its signals arrive once',
    control: 'appends-repeats',
    async run(world) {
      const [publisher, reader] = [await world.lowNode(), await world.lowNode()]
      for (const firstUnaccepted of [1, 1, 4]) {
        expect(await publish(publisher, [1, 2, 3], { firstUnaccepted })).toEqual({ accepted: 3 })
      }
      expect(await allOf(publisher, reader)).toEqual(['1', '2', '3'])
    },
  },
  {
    name: 'a request that repeats some adds the others',
    control: 'refuses-repeats',
    async run(world) {
      const [publisher, reader] = [await world.lowNode(), await world.lowNode()]
      await publish(publisher, [1, 2, 3])
      expect(await publish(publisher, [2, 3, 4, 5], { firstUnaccepted: 2 })).toEqual({ accepted: 4 })
      expect(await allOf(publisher, reader)).toEqual(['1', '2', '3', '4', '5'])
    },
  },
  {
    name: 'the same request twice at once is accepted twice, and arrives once',
    control: 'appends-repeats',
    async run(world) {
      const [publisher, reader] = [await world.lowNode(), await world.lowNode()]
      const sequences = range(1, 100)
      const replies = await Promise.all([publish(publisher, sequences), publish(publisher, sequences)])
      expect(replies).toEqual([{ accepted: 100 }, { accepted: 100 }])
      expect(await allOf(publisher, reader)).toEqual(sequences.map(String))
    },
  },
  {
    name: 'a number is refused as long as the one before it is missing, and accepted after it',
    control: 'accepts-out-of-turn',
    async run(world) {
      const [publisher, reader] = [await world.lowNode(), await world.lowNode()]
      await publish(publisher, [1])
      const early = await publish(publisher, [3, 4], { firstUnaccepted: 2 })
      expect(early).toMatchObject({ accepted: 0, failure: { isFinal: false } })
      expect(await publish(publisher, [2, 3, 4])).toEqual({ accepted: 3 })
      expect(await allOf(publisher, reader)).toEqual(['1', '2', '3', '4'])
    },
  },
  {
    name: 'a number that its publisher gave up holds up nothing: those behind it arrive, or a gap does',
    control: 'waits-for-what-was-given-up',
    async run(world) {
      const [publisher, reader] = [await world.lowNode(), await world.lowNode()]
      await publish(publisher, [1, 2])
      await arrive(reader, 2)
      expect(await publish(publisher, [4, 5], { firstUnaccepted: 4 })).toEqual({ accepted: 2 })
      await until('both arrived, or a gap', () => signalsOf(reader).length === 4 || gapsOf(reader).length > 0)
      // One more gap may cover the next one: the reader begins anew where it does not know what it missed.
      for (let sequence = 6, hasArrived = false; !hasArrived; sequence += 1) {
        const gaps = gapsOf(reader).length
        const arrived = (): boolean => signalsOf(reader).some((signal) => signal.sequence === sequence)
        expect(await publish(publisher, [sequence], { firstUnaccepted: sequence })).toEqual({ accepted: 1 })
        await until('the next one arrived, or a gap', () => arrived() || gapsOf(reader).length > gaps)
        hasArrived = arrived()
        expect(sequence).toBeLessThan(9)
      }
    },
  },
  {
    name: 'numbers of two publishers have nothing to do with each other',
    control: 'numbers-are-shared',
    async run(world) {
      const [one, two] = [await world.lowNode(), await world.lowNode()]
      const reader = await world.lowNode()
      await publish(one, range(1, 20))
      expect(await publish(two, range(1, 20))).toEqual({ accepted: 20 })
      await arrive(reader, 40)
    },
  },
  {
    name: 'a transient signal has no number, and arrives as often as it is sent',
    control: 'suppresses-transient-ones',
    async run(world) {
      const [publisher, reader] = [await world.lowNode(), await world.lowNode()]
      await publish(publisher, [1])
      expect(await publish(publisher, [0])).toEqual({ accepted: 1 })
      expect(await publish(publisher, [0])).toEqual({ accepted: 1 })
      expect(await publish(publisher, [2])).toEqual({ accepted: 1 })
      expect(await allOf(publisher, reader)).toEqual(['1', '0', '0', '2'])
    },
  },
  {
    name: 'each log has numbers of its own, and says which one a signal is from',
    control: 'lanes-are-one',
    skip: withoutLanes,
    async run(world) {
      const plugin = world.harness.pluginWithLanes
      const [publisher, reader] = [
        await world.stranger({ plugin: plugin?.(3) }),
        await world.stranger({ plugin: plugin?.(3) }),
      ]
      expect(publisher.driver.lanes).toBe(3)
      await publisher.join()
      await reader.join()
      for (const lane of [0, 1, 2]) {
        expect(await publish(publisher, [1, 2], { lane, topic: `lane.${lane}` })).toEqual({ accepted: 2 })
      }
      await arrive(reader, 6)
      for (const lane of [0, 1, 2]) {
        const ofLane = signalsOf(reader).filter((signal) => signal.lane === lane)
        expect(ofLane.map((signal) => [signal.topic, signal.sequence])).toEqual([
          [`lane.${lane}`, 1],
          [`lane.${lane}`, 2],
        ])
      }
    },
  },
]

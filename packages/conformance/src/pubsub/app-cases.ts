import type { Gap } from '@multinode/core'
import { expect } from 'vitest'
import type { PubSubCase } from './pubsub-case.ts'
import { send } from './publishing.ts'
import { until } from './until.ts'

const topics = ['a', 'b', 'a.b', 'a.c', 'b.a', 'a.b.c', 'a.c.b', 'a.b.c.d', 'z.a', 'z.y.a', 'ä.ö', 'a.b.a.b']

/** Which of these topics each pattern covers, as in AMQP: `*` is one word, `#` none or more. */
const covered: Readonly<Record<string, readonly string[]>> = {
  a: ['a'],
  'a.b': ['a.b'],
  'x.y': [],
  '*': ['a', 'b'],
  '*.*': ['a.b', 'a.c', 'b.a', 'z.a', 'ä.ö'],
  'a.*': ['a.b', 'a.c'],
  '*.a': ['b.a', 'z.a'],
  'a.*.*': ['a.b.c', 'a.c.b'],
  'a.*.c': ['a.b.c'],
  '*.b.*': ['a.b.c'],
  '#': topics,
  '#.#': topics,
  '*.#': topics,
  '#.*': topics,
  'a.#': ['a', 'a.b', 'a.c', 'a.b.c', 'a.c.b', 'a.b.c.d', 'a.b.a.b'],
  '#.a': ['a', 'b.a', 'z.a', 'z.y.a'],
  '#.b': ['b', 'a.b', 'a.c.b', 'a.b.a.b'],
  'a.#.b': ['a.b', 'a.c.b', 'a.b.a.b'],
  'a.#.d': ['a.b.c.d'],
  'a.b.#': ['a.b', 'a.b.c', 'a.b.c.d', 'a.b.a.b'],
  'a.*.#': ['a.b', 'a.c', 'a.b.c', 'a.c.b', 'a.b.c.d', 'a.b.a.b'],
  '#.b.#': ['b', 'a.b', 'b.a', 'a.b.c', 'a.c.b', 'a.b.c.d', 'a.b.a.b'],
  '#.c.*': ['a.c.b', 'a.b.c.d'],
  '*.*.#': ['a.b', 'a.c', 'b.a', 'a.b.c', 'a.c.b', 'a.b.c.d', 'z.a', 'z.y.a', 'ä.ö', 'a.b.a.b'],
  '*.#.b': ['a.b', 'a.c.b', 'a.b.a.b'],
  '#.a.#.b': ['a.b', 'a.c.b', 'a.b.a.b'],
  'z.#': ['z.a', 'z.y.a'],
  'z.*.a': ['z.y.a'],
  'ä.*': ['ä.ö'],
  '*.ö': ['ä.ö'],
  'ä.ö': ['ä.ö'],
  'a.b.c': ['a.b.c'],
  'a.b.c.*': ['a.b.c.d'],
  '*.*.*': ['a.b.c', 'a.c.b', 'z.y.a'],
  '*.*.*.*': ['a.b.c.d', 'a.b.a.b'],
  '#.d': ['a.b.c.d'],
  '#.c.d': ['a.b.c.d'],
  'b.#': ['b', 'b.a'],
  'b.*': ['b.a'],
  'A.#': [],
  '*.*.*.*.*': [],
  'a.#.b.#.b': ['a.b.a.b'],
}

/** Envelopes as later versions of this library may write them: a byte for the version, a header on a line, the payload. */
function envelope(version: number, header: object, payload: string): Uint8Array {
  return Buffer.concat([Buffer.from([version]), Buffer.from(`${JSON.stringify(header)}\n${payload}`)])
}

/** What an app sees of it. */
export const appCases: readonly PubSubCase[] = [
  {
    name: `subscriptions have what their patterns cover: ${Object.keys(covered).length} patterns, ${topics.length} topics`,
    control: 'topic-is-changed',
    async run(world) {
      const [publisher, reader] = [await world.highNode(), await world.highNode()]
      const seen = new Map<string, string[]>()
      for (const pattern of Object.keys(covered)) {
        const list: string[] = []
        seen.set(pattern, list)
        await reader.pubsub.subscribe(pattern, ({ topic }) => void list.push(topic), { onGap: 'ignore' })
      }
      let isDone = false
      await reader.pubsub.subscribe('done', () => void (isDone = true), { onGap: 'ignore' })
      for (const topic of topics) await publisher.pubsub.publish(topic)
      await publisher.pubsub.publish('done')
      await until('all arrived', () => isDone && seen.get('#')?.length === topics.length + 1)
      const found = [...seen].map(([pattern, list]) => [pattern, list.filter((topic) => topic !== 'done')])
      expect(Object.fromEntries(found)).toEqual(covered)
    },
  },
  {
    name: 'payloads arrive as they were: JSON, bytes, and nothing',
    control: 'data-is-text',
    async run(world) {
      const [publisher, reader] = [await world.highNode(), await world.highNode()]
      const payloads = [
        { id: 7, text: 'ä\u{1F512}\n', none: null, list: [1, [2.5]] },
        'text',
        '',
        0,
        false,
        null,
        undefined,
        Uint8Array.from({ length: 256 }, (_, index) => index),
        new Uint8Array(),
      ]
      const seen: unknown[] = []
      await reader.pubsub.subscribe('a', ({ payload }) => void seen.push(payload), { onGap: 'ignore' })
      for (const payload of payloads) await publisher.pubsub.publish('a', payload)
      await until('all arrived', () => seen.length === payloads.length)
      expect(seen).toStrictEqual(payloads)
    },
  },
  {
    name: 'a payload of 64 KiB in all arrives, and one of a byte more is refused',
    control: 'long-data-is-cut',
    async run(world) {
      const [publisher, reader] = [await world.highNode(), await world.highNode()]
      const lengths: number[] = []
      const handler = ({ payload }: { readonly payload: unknown }): void =>
        void lengths.push(payload instanceof Uint8Array ? payload.byteLength : -1)
      await reader.pubsub.subscribe('a', handler, { onGap: 'ignore' })
      const refusal: unknown = await publisher.pubsub
        .publish('a', new Uint8Array(65_536))
        .catch((error: unknown) => error)
      expect(refusal).toMatchObject({ code: 'TOO_LARGE', details: { most: 65_536 } })
      const { details } = Object(refusal)
      const longest = 65_536 - (Number(details.bytes) - 65_536)
      expect(await publisher.pubsub.publish('a', new Uint8Array(longest))).toEqual({ status: 'sent' })
      await until('it arrived', () => lengths.length > 0)
      expect(lengths).toEqual([longest])
    },
  },
  {
    name: 'a signal is for the nodes that it names, and a node skips its own',
    control: 'skips-its-own',
    async run(world) {
      const [publisher, reader, other] = [
        await world.highNode(),
        await world.highNode(),
        await world.highNode(),
      ]
      const seen: Record<string, unknown[]> = { own: [], skipped: [], reader: [], other: [] }
      const note = (name: string) => (signal: { readonly payload: unknown }) =>
        void seen[name]?.push(signal.payload)
      await publisher.pubsub.subscribe('#', note('own'), { onGap: 'ignore', self: 'only' })
      await publisher.pubsub.subscribe('#', note('skipped'), { onGap: 'ignore' })
      await reader.pubsub.subscribe('#', note('reader'), { onGap: 'ignore' })
      await other.pubsub.subscribe('#', note('other'), { onGap: 'ignore' })
      await publisher.pubsub.publish('a', 1, { to: [reader.nodeId] })
      await publisher.pubsub.publish('a', 2)
      await until('the last one arrived', () =>
        ['own', 'reader', 'other'].every((name) => seen[name]?.at(-1) === 2),
      )
      expect(seen).toEqual({ own: [2], skipped: [], reader: [1, 2], other: [2] })
    },
  },
  {
    name: 'a signal of a later version that has more fields is read, and one in another format is a gap',
    control: 'leaves-out-other-versions',
    async run(world) {
      const [publisher, reader] = [await world.lowNode(), await world.highNode()]
      const seen: unknown[] = []
      const onGap = ({ reason, missed }: Gap): void => void seen.push({ reason, missed })
      await reader.pubsub.subscribe('a', ({ payload }) => void seen.push(payload), { onGap })
      const header = { n: 'later', zip: 'none', ttl: { ms: 5 } }
      const datas = [
        envelope(1, header, '{"a":1}'),
        envelope(2, header, '{"a":2}'),
        Uint8Array.of(0xff, 0xfe),
        envelope(1, { ...header, b: 1 }, 'bytes'),
      ]
      await send(
        publisher,
        datas.map((data, index) => ({ sequence: index + 1, topic: 'a', data })),
      )
      await until('the last one arrived', () => seen.some((each) => each instanceof Uint8Array))
      const [first, ...rest] = seen
      expect(first).toEqual({ a: 1 })
      expect(rest.pop()).toEqual(new Uint8Array(Buffer.from('bytes')))
      // One gap or two, by how fast they came.
      const missed = rest.map((gap) => Number(Reflect.get(Object(gap), 'missed')))
      expect(missed.reduce((sum, each) => sum + each, 0)).toBe(2)
    },
  },
]

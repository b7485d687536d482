import { setTimeout as sleep } from 'node:timers/promises'
import { PubSub } from '@multinode/core'
import { capabilityContext, pluginContext } from '@multinode/core/testing'
import { redisPubSub } from '@multinode/pubsub-redis'
import { Redis } from 'ioredis'
import type { JoinParty, Mark, PubSubParty } from './pubsub-party.ts'
import { joinPeers } from './pubsub-peers.ts'

const topic = 'bench.mark'
export const clusterName = 'bench'

/** The portable type on pubsub-redis, as one node; without a cluster object around it, whose health checks are commands, too. */
async function openOurs(url: string): Promise<AsyncDisposable & { readonly pubsub: PubSub }> {
  const context = pluginContext({ clusterName })
  const driver = await redisPubSub({ url }).create(context)
  const pubsub = new PubSub(driver, {
    ...capabilityContext('pubsub', 'redis', { clusterName }),
    node: context.node,
  })
  return {
    pubsub,
    async [Symbol.asyncDispose]() {
      await pubsub.close()
      await driver.close()
    },
  }
}

export const joinOurs: JoinParty = async (url, hear) => {
  const ours = await openOurs(url)
  const { pubsub } = ours
  const channel = pubsub.channel<Mark>(topic, { schema: { '~standard': { version: 1, validate: asMark } } })
  await channel.subscribe(({ payload }) => hear(payload), { onGap: fail })
  return {
    publish: async (mark) => {
      const { status } = await pubsub.publish(topic, mark)
      if (status !== 'sent') throw new Error(`a signal was ${status}`)
    },
    [Symbol.asyncDispose]: () => ours[Symbol.asyncDispose](),
  }
}

/** As ours, with another subscription, whose handler takes 100 ms for each mark. */
export const joinBesideSlow: JoinParty = async (url, hear) => {
  const ours = await openOurs(url)
  await ours.pubsub.subscribe('#', () => sleep(100), { onGap: 'ignore' })
  await ours.pubsub.subscribe(topic, ({ payload }) => hear(readMark(payload)), { onGap: fail })
  return {
    publish: (mark) => ours.pubsub.publish(topic, mark),
    [Symbol.asyncDispose]: () => ours[Symbol.asyncDispose](),
  }
}

const asMark = (value: unknown): { readonly value: Mark } => ({ value: readMark(value) })

function readMark(value: unknown): Mark {
  if (typeof value === 'object' && value !== null && 'sentAtMs' in value && 'from' in value)
    return { from: String(value.from), sentAtMs: Number(value.sentAtMs), padding: '' }
  throw new TypeError('something else was heard than what was published')
}

function fail(): never {
  throw new Error('there was a gap, though nothing was broken')
}

const stream = 'raw:log'
const mostEntries = 10_000

/** What one writes without a library, so that a node that was away can catch up. */
const joinRaw: JoinParty = async (url, hear) => {
  const [writer, reader] = [new Redis(url), new Redis(url)]
  const [last] = await reader.xrevrange(stream, '+', '-', 'COUNT', 1)
  const reading = readStream(reader, last?.[0] ?? '0-0', hear)
  return {
    publish: (mark) => writer.xadd(stream, 'MAXLEN', '~', mostEntries, '*', 'd', JSON.stringify(mark)),
    async [Symbol.asyncDispose]() {
      reader.disconnect()
      await Promise.all([writer.quit(), reading])
    },
  }
}

/** Until it is disconnected. */
async function readStream(reader: Redis, from: string, hear: (mark: Mark) => void): Promise<void> {
  let position = from
  while (reader.status !== 'end') {
    const reply = await reader
      .xread('COUNT', 256, 'BLOCK', 5_000, 'STREAMS', stream, position)
      .catch((error: unknown) => {
        if (reader.status !== 'end') throw error
      })
    for (const [id, [, text = '']] of reply?.[0]?.[1] ?? []) {
      position = id
      hear(readMark(JSON.parse(text)))
    }
  }
}

/** What one writes without a library, if what is missed does not matter. */
const joinPlain: JoinParty = async (url, hear) => {
  const [writer, reader] = [new Redis(url), new Redis(url)]
  reader.on('message', (_, text) => hear(readMark(JSON.parse(text))))
  await reader.subscribe(topic)
  return {
    publish: (mark) => writer.publish(topic, JSON.stringify(mark)),
    async [Symbol.asyncDispose]() {
      await Promise.all([writer.quit(), reader.quit()])
    },
  }
}

const joins: ReadonlyMap<string, JoinParty> = new Map([
  ['ours', joinOurs],
  ['raw', joinRaw],
  ['PUBLISH/SUBSCRIBE', joinPlain],
  ...Object.entries(joinPeers),
])

export const sideNames: readonly string[] = [...joins.keys()]

export function joinSide(side: string, url: string, hear: (mark: Mark) => void): Promise<PubSubParty> {
  const join = joins.get(side)
  if (join === undefined) throw new Error(`nobody is called ${side}`)
  return join(url, hear)
}

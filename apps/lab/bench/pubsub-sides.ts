import { redisPubSub } from '@multinode/pubsub-redis'
import { Redis } from 'ioredis'
import { joinOn, readMark, topic } from './pubsub-ours.ts'
import type { JoinParty, Mark, PubSubParty } from './pubsub-party.ts'
import { joinPeers } from './pubsub-peers.ts'
import { joinRabbitmq } from './pubsub-rabbitmq-sides.ts'

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

const onRedis: ReadonlyMap<string, JoinParty> = new Map([
  ['ours', joinOn((url) => redisPubSub({ url }))],
  ['raw', joinRaw],
  ['PUBLISH/SUBSCRIBE', joinPlain],
  ...Object.entries(joinPeers),
])

const joins = new Map([...onRedis, ...Object.entries(joinRabbitmq)])

export const sideNames: readonly string[] = [...onRedis.keys()]

export function joinSide(side: string, url: string, hear: (mark: Mark) => void): Promise<PubSubParty> {
  const join = joins.get(side)
  if (join === undefined) throw new Error(`nobody is called ${side}`)
  return join(url, hear)
}

/** Other libraries of signals on Redis, each with its own defaults. All are on ioredis 6, like ours. */
import { Bus } from '@boringnode/bus'
import { RedisTransport } from '@boringnode/bus/transports/redis'
import { createAdapter } from '@socket.io/redis-streams-adapter'
import { waitUntil } from '@multinode/testbed'
import { Redis } from 'ioredis'
import type { JoinParty, Mark } from './pubsub-party.ts'

const channel = 'peer'

export const joinPeers: Readonly<Record<string, JoinParty>> = {
  '@boringnode/bus': async (url, hear) => {
    const { hostname, port } = new URL(url)
    const bus = new Bus(new RedisTransport({ host: hostname, port: Number(port) }))
    await bus.subscribe<Record<keyof Mark, string | number>>(channel, ({ from, sentAtMs }) => {
      hear({ from: String(from), sentAtMs: Number(sentAtMs), padding: '' })
    })
    return {
      publish: (mark) => bus.publish(channel, { ...mark }),
      [Symbol.asyncDispose]: () => bus.disconnect(),
    }
  },
  /** The adapter alone, with one socket that only notes what it would send, and nothing of Socket.IO around it. */
  '@socket.io/redis-streams-adapter': async (url, hear) => {
    const client = new Redis(url)
    const name = `node-${await client.incr('peer:nodes')}`
    let heard = 0
    const socket = {
      notifyOutgoingListeners({ data }: { readonly data: Mark }) {
        heard += 1
        if (data.from !== '') hear(data)
      },
      client: { writeToEngine() {} },
    }
    const adapter = createAdapter(client)({
      name: '/',
      server: { encoder: { encode: () => [] }, opts: {} },
      sockets: new Map([[name, socket]]),
    })
    await adapter.addAll(name, new Set([name]))
    const publish = (data: Mark): Promise<void> =>
      Promise.resolve(adapter.broadcast({ type: 2, data }, { rooms: new Set(), except: new Set() }))
    await untilItReads(url, () => heard > 0)
    return {
      publish,
      async [Symbol.asyncDispose]() {
        await adapter.close()
        await client.quit()
      },
    }
  },
}

/** It does not say when it has begun to read, and begins at the end of the stream. */
async function untilItReads(url: string, hasHeard: () => boolean): Promise<void> {
  const other = new Redis(url)
  const data = JSON.stringify({ packet: { type: 2, data: { from: '' } }, opts: { rooms: [], except: [] } })
  await waitUntil('the adapter to read', async () => {
    await other.xadd('socket.io', '*', 'uid', 'other', 'nsp', '/', 'type', '3', 'data', data)
    return hasHeard()
  })
  await other.quit()
}

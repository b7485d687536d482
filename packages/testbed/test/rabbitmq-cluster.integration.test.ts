import { connect, type ChannelModel } from 'amqplib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type RabbitmqCluster, serversAvailable, startRabbitmq, waitUntil } from '../src/index.ts'

/** Three boots, one after the other; each takes several times its 4 s beside other tests. */
const timeout = 300_000

async function connected(url: string | undefined): Promise<ChannelModel> {
  if (!url) throw new Error('no such node')
  const client = await connect(url)
  client.on('error', () => {})
  return client
}

/** Opens anew as often as it must: right after a change of leader, any step of it can fail for a moment. */
async function withChannel<T>(
  url: string | undefined,
  use: (client: ChannelModel) => Promise<T>,
): Promise<T> {
  const outcome = await waitUntil(
    'the cluster to take it',
    async () => {
      const client = await connected(url)
      try {
        return { value: await use(client) }
      } finally {
        await client.close().catch(() => {})
      }
    },
    { deadlineMs: 30_000, everyMs: 200 },
  )
  return outcome.value
}

/** Not `once`, which an 'error' before it rejects. */
function closeOf(client: ChannelModel): Promise<void> {
  return new Promise((resolve) => {
    client.once('close', () => resolve())
  })
}

async function isRefused(url: string): Promise<boolean> {
  try {
    await (await connected(url)).close()
    return false
  } catch (error) {
    return String(error).includes('ECONNREFUSED')
  }
}

async function send(client: ChannelModel, queue: string, text: string): Promise<void> {
  const channel = await client.createConfirmChannel()
  channel.on('error', () => {})
  channel.sendToQueue(queue, Buffer.from(text), { persistent: true })
  await channel.waitForConfirms()
}

async function read(client: ChannelModel, queue: string, count: number): Promise<string[]> {
  const channel = await client.createChannel()
  await channel.prefetch(10)
  const texts: string[] = []
  return await new Promise((resolve, reject) => {
    channel.on('error', reject)
    const options = queue === 'stream' ? { arguments: { 'x-stream-offset': 'first' } } : {}
    const take = (message: { content: Buffer } | null) => {
      texts.push(String(message?.content))
      if (texts.length === count) resolve(texts)
    }
    channel.consume(queue, take, options).catch(reject)
  })
}

describe.skipIf(!serversAvailable())('startRabbitmq with three nodes', { timeout }, () => {
  let cluster: RabbitmqCluster

  beforeAll(async () => {
    cluster = await startRabbitmq({ nodes: 3 })
    await withChannel(cluster.urls[0], async (client) => {
      const channel = await client.createChannel()
      for (const type of ['stream', 'quorum'])
        await channel.assertQueue(type, { durable: true, arguments: { 'x-queue-type': type } })
    })
  }, timeout)

  afterAll(async () => {
    await cluster.stop()
  })

  it('is one cluster: what one node takes, another gives', async () => {
    await withChannel(cluster.urls[0], (client) => send(client, 'stream', 'hello'))
    expect(await withChannel(cluster.urls[1], (client) => read(client, 'stream', 1))).toEqual(['hello'])
    const lists = await Promise.all(cluster.nodes.map((node) => node.queues()))
    expect(lists.map((list) => list.length)).toEqual([2, 2, 2])
  })

  it.each(['stream', 'quorum'])('has a new leader of a %s after the old one was killed', async (queue) => {
    const dead = await cluster.killLeader(queue)
    expect(dead.state).toBe('gone')
    const leader = await cluster.leaderOf(queue)
    expect(leader).not.toBe(dead)
    await withChannel(leader.url, (client) => send(client, queue, 'after'))
    await dead.restart()
    await cluster.ready()
    const first = queue === 'stream' ? ['hello', 'after'] : ['after']
    expect(await withChannel(dead.url, (client) => read(client, queue, first.length))).toEqual(first)
  })

  it('closes the connections of an isolated node, and takes it back', async () => {
    const leader = await cluster.leaderOf('stream')
    const client = await connected(leader.url)
    const closed = closeOf(client)
    await cluster.isolate(leader)
    await closed
    expect(await cluster.leaderOf('stream')).not.toBe(leader)
    await waitUntil('its port to be closed', () => isRefused(leader.url))
    expect(leader.state).toBe('running')
    await cluster.reunite(leader)
    await (await connected(leader.url)).close()
  })
})

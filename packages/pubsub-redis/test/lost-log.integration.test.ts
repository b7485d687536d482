import { setTimeout as sleep } from 'node:timers/promises'
import {
  faultless,
  publishAt,
  type RedisServer,
  serversAvailable,
  SetChecker,
  startRedis,
  tcpProxy,
  waitUntil,
  withLateness,
} from '@multinode/testbed'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { node } from './node.ts'
import { allArrived, allSent, publisher, watch } from './traffic.ts'

const clusterName = 'shop'
const log = '{shop:pubsub:0}:log'
/**
 * What was sent just before the loss may, for all that the server knows, have been sent to the new log, which would be one gap more: the later the publisher tells of it, because its connection is
 * back later than others or the server late, the longer before it must have been sent.
 */
const agedMs = 2_000

interface Fault {
  readonly what: string
  /** How many of 20 are still to be found by who reads on. */
  readonly left: number
  readonly lose: (server: RedisServer) => Promise<unknown>
}

const faults: readonly Fault[] = [
  { what: 'FLUSHALL', left: 0, lose: (server) => server.flush() },
  { what: 'the deletion of the log', left: 0, lose: (server) => server.cli('DEL', log) },
  {
    what: 'the deletion of what is known of the log',
    left: 0,
    lose: (server) => server.cli('DEL', '{shop:pubsub:0}:meta'),
  },
  {
    what: 'a restart without persistence',
    left: 0,
    lose: async (server) => {
      await server.kill()
      await server.restart()
    },
  },
]

/** Of those that stay: not the one that asks. */
async function connectionsOf(server: RedisServer): Promise<string[]> {
  const list = String(await server.cli('CLIENT', 'LIST'))
  return list
    .split('\n')
    .flatMap((line) => (line.includes('cmd=client') ? [] : (/^id=(\d+)/.exec(line)?.[1] ?? [])))
}

describe.skipIf(!serversAvailable()).concurrent.each(faults)('after $what', ({ lose, left }) => {
  it('every node is told of one gap within 4 s, although nobody publishes, and then hears all', async ({
    annotate,
  }) => {
    await using server = await startRedis()
    await using stack = new AsyncDisposableStack()
    const checker = new SetChecker()
    const nodes = []
    for (let each = 0; each < 3; each += 1) nodes.push(stack.use(await node(server.url, { clusterName })))
    const watched = await Promise.all(nodes.map((each) => watch(checker, each)))
    const publishers = nodes.map((each) => publisher(checker, each))
    await publishAt(1_000, 30, publishers)
    await allArrived(checker, nodes)
    await sleep(agedMs)
    await lose(server)
    const lostAtMs = performance.now()
    const { sumMs: lateMs } = await withLateness(
      () => server.cli('PING'),
      () => waitUntil('every node to be told', () => watched.every(({ gaps }) => gaps.length > 0)),
    )
    const toldAfterMs = performance.now() - lostAtMs
    await annotate(`${Math.round(toldAfterMs)} ms`)
    expect(toldAfterMs).toBeLessThan(4_000 + lateMs)
    await publishAt(1_000, 30, publishers)
    for (const finding of await allArrived(checker, nodes)) {
      expect(finding).toEqual({ seen: 60, gaps: 1, ...faultless })
    }
  })

  it('a node that was cut off is told, where a bare XREAD is told nothing', async () => {
    await using server = await startRedis()
    await using proxy = await tcpProxy(server.port)
    const url = `redis://127.0.0.1:${proxy.port}`
    await using sender = await node(server.url, { clusterName })
    await using receiver = await node(url, { clusterName })
    const checker = new SetChecker()
    const { gaps } = await watch(checker, receiver)
    const publish = publisher(checker, sender)
    await publishAt(1_000, 20, [publish])
    await allArrived(checker, [sender])
    using stack = new DisposableStack()
    const bare = stack.adopt(new Redis(server.url), (client) => client.disconnect())
    // It is connected again by itself.
    bare.on('error', () => {})
    const [head] = await bare.xrevrange(log, '+', '-', 'COUNT', 1)
    proxy.refuse()
    proxy.reset()
    await publishAt(1_000, 20, [publish])
    await allSent(checker, [sender])
    await sleep(agedMs)
    await lose(server)
    proxy.heal()
    const [finding] = await allArrived(checker, [sender])
    expect(finding).toMatchObject(faultless)
    expect(gaps).toHaveLength(1)
    await waitUntil('the bare client', () => bare.status === 'ready')
    const found = await bare.xread('COUNT', 100, 'STREAMS', log, head?.[0] ?? '0-0')
    const heard = found?.[0]?.[1].filter(([, fields]) => fields[1]?.endsWith(' orders.changed')) ?? []
    expect(heard, 'the control').toHaveLength(left)
  })

  it('nobody is told twice, also when the connections break behind it', async () => {
    await using server = await startRedis()
    await using receiver = await node(server.url, { clusterName })
    await using sender = await node(server.url, { clusterName })
    const checker = new SetChecker()
    const { gaps } = await watch(checker, receiver)
    await publishAt(1_000, 20, [publisher(checker, sender)])
    await allArrived(checker, [sender])
    await sleep(agedMs)
    await lose(server)
    await waitUntil('it to be told', () => gaps.length > 0)
    for (let times = 0; times < 3; times += 1) {
      const connections = await connectionsOf(server)
      await server.cli('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
      await waitUntil('all to be there again', async () => {
        const now = await connectionsOf(server)
        return now.length >= connections.length && now.every((id) => !connections.includes(id))
      })
    }
    await publishAt(1_000, 20, [publisher(checker, sender)])
    for (const finding of await allArrived(checker, [sender])) {
      expect(finding).toEqual({ seen: 40, gaps: 1, ...faultless })
    }
  })

  it('nobody is told twice, also when a node that was cut off finds it first, and another one comes behind it', async () => {
    await using server = await startRedis()
    await using proxy = await tcpProxy(server.port)
    await using sender = await node(server.url, { clusterName })
    await using receiver = await node(`redis://127.0.0.1:${proxy.port}`, { clusterName })
    const checker = new SetChecker()
    const watched = [await watch(checker, sender), await watch(checker, receiver)]
    const publish = publisher(checker, sender)
    await publish()
    await allArrived(checker, [sender])
    await sleep(agedMs)
    proxy.refuse()
    proxy.reset()
    await lose(server)
    proxy.heal()
    await waitUntil('both to be told', () => watched.every(({ gaps }) => gaps.length > 0))
    // What it says first is a look at the log, too.
    await using newcomer = await node(server.url, { clusterName })
    await waitUntil('all nodes', () => newcomer.pubsub.nodes().length === 3)
    await publish()
    for (const finding of await allArrived(checker, [sender])) {
      expect(finding).toEqual({ seen: 2, gaps: 1, ...faultless })
    }
  })

  it('what is published meanwhile is heard or covered by the gap', async () => {
    await using server = await startRedis()
    await using sender = await node(server.url, { clusterName })
    await using receiver = await node(server.url, { clusterName })
    const checker = new SetChecker()
    await watch(checker, receiver)
    let isLost = false
    await Promise.all([
      publishAt(1_000, 1_000, [publisher(checker, sender)]),
      (async () => {
        await waitUntil('half of them', () => checker.published >= 500)
        await lose(server)
        isLost = true
      })(),
    ])
    expect(isLost).toBe(true)
    for (const finding of await allArrived(checker, [sender])) expect(finding).toMatchObject(faultless)
  })
})

describe.skipIf(!serversAvailable()).concurrent('an entry that somebody else wrote to the log', () => {
  it('is passed over: told as one gap and reported once, and what comes after it is heard', async () => {
    await using server = await startRedis()
    const reported: unknown[] = []
    const report = (error: unknown): unknown => reported.push(error)
    await using one = await node(server.url, { clusterName, report })
    const heard: unknown[] = []
    const gaps: unknown[] = []
    await one.pubsub.subscribe('orders.*', ({ payload }) => void heard.push(payload), {
      onGap: (gap) => void gaps.push(gap),
      self: 'include',
    })
    for (const each of [1, 2]) {
      await server.cli('XADD', log, '*', 'somebody', 'else')
      await waitUntil('a gap', () => gaps.length === each)
      await one.pubsub.publish('orders.changed', each)
      await waitUntil('what follows', () => heard.length === each)
    }
    expect(heard).toEqual([1, 2])
    expect(one.pubsub.isHearing).toBe(true)
    expect(reported).toHaveLength(1)
    expect(String(reported)).toContain('no publisher of ours wrote')
  })
})

/**
 * Signals. On RabbitMQ: ours in mode stream, and raw amqplib with a transient queue for each node. On Redis: ours (the portable type on pubsub-redis), raw ioredis with XADD and XREAD, raw ioredis with PUBLISH and SUBSCRIBE, and other
 * libraries with their defaults. Of these, PUBLISH/SUBSCRIBE and the bus cannot tell what was missed, or catch up. All are on ioredis 6, @boringnode/bus too, which asks
 * for 5; `beside slow` is a subscription of ours whose node has another one with a handler of 100 ms, its raw the same without that one; the server and all nodes are on this machine, the nodes in four processes. Each mark is 190 bytes of JSON.
 *
 * Aims, not judged here: latency p50 <= 1 ms and p99 <= 5 ms, on RabbitMQ 2 and 10; cpu <= 1.1 x raw; idle node <= 1 command a second; 10,000 entries <= 3 MB.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { PubSubPlugin } from '@multinode/core'
import { redisPubSub } from '@multinode/pubsub-redis'
import { type NodeChild, type RedisServer, spawnNode, startRabbitmq, startRedis } from '@multinode/testbed'
import type { Bench, BenchCase, Round } from './harness.ts'
import { type JoinParty, machineMs, markOf } from './pubsub-party.ts'
import { joinBesideSlow, joinOn } from './pubsub-ours.ts'
import { joinSide, sideNames } from './pubsub-sides.ts'
import { SentCommands } from './sent-commands.ts'
import { quantileOf } from './statistics.ts'

const bench: Bench = {
  about: 'signals on Redis and RabbitMQ: latency, cost and memory; ours, raw clients and other libraries',
  async prepare(resources) {
    const server = resources.use(await startRedis())
    const rabbitmq = resources.use(await startRabbitmq())
    const crowd = await Crowd.start(server, rabbitmq.url, resources)
    return [
      ...underLoad(crowd, 'redis', onRedis),
      ...underLoad(crowd, 'rabbitmq', onRabbitmq),
      publishing(server),
      besideSlow(server),
      ...[1, 5, 20, 50].map((nodes) => latencyOf(nodes, crowd)),
      idleNode(),
      memory(server),
    ]
  },
}

export default bench

/** Long ones, each with many samples in it. */
const fewRounds = { warmUp: 1, counted: 5 }

type Sides = Pick<BenchCase, 'ours' | 'raw' | 'peers'>

function ofSides(names: readonly string[], toRound: (side: string) => Round): Sides {
  const peers = names.filter((side) => side !== 'ours' && side !== 'raw')
  return {
    ours: toRound('ours'),
    raw: toRound('raw'),
    peers: Object.fromEntries(peers.map((side) => [side, toRound(side)])),
  }
}

/** What makes the sides of a case. */
type ToSides = (toRound: (side: string) => Round) => Sides

const onRedis: ToSides = (toRound) => ofSides(sideNames, toRound)

const onRabbitmq: ToSides = (toRound) => ({
  ours: toRound('rabbitmq ours'),
  raw: toRound('rabbitmq raw'),
  peers: {},
})

const processes = 4
const perSecond = 200
const loadMs = 3_000
/** For nodes to hear of each other. */
const settleMs = 700
/** For what is still under way. */
const restMs = 300

interface Load {
  readonly sortedMs: readonly number[]
  /** Of one core, used by the server. */
  readonly cpuPercent: number
}

/** Nodes of one side at a time, spread over some processes. */
class Crowd {
  readonly #server: RedisServer
  readonly #children: readonly NodeChild[]

  private constructor(server: RedisServer, children: readonly NodeChild[]) {
    this.#server = server
    this.#children = children
  }

  static async start(
    server: RedisServer,
    rabbitmqUrl: string,
    resources: AsyncDisposableStack,
  ): Promise<Crowd> {
    const start = async (): Promise<NodeChild> => {
      const file = new URL('pubsub-nodes.ts', import.meta.url)
      const env = { REDIS_URL: server.url, RABBITMQ_URL: rabbitmqUrl }
      const child = resources.use(await spawnNode(file, { env }))
      await child.nextLine('ready')
      return child
    }
    return new Crowd(server, await Promise.all(Array.from({ length: processes }, start)))
  }

  /** So many nodes in each process, of which so many publish, at 200/s all in all. */
  async load(side: string, nodes: readonly number[], publishers: readonly number[]): Promise<Load> {
    await this.#server.flush()
    const involved = this.#children.filter((_, index) => (nodes[index] ?? 0) > 0)
    await this.#ask(involved, (index) => `join\t${side}\t${nodes[index]}`)
    await sleep(settleMs)
    const all = publishers.reduce((sum, count) => sum + count, 0)
    const busy = this.#children.filter((_, index) => (publishers[index] ?? 0) > 0)
    const before = await cpuMs(this.#server)
    const startedAtMs = performance.now()
    await this.#ask(busy, (index) => {
      const count = publishers[index] ?? 0
      return `publish\t${count}\t${(perSecond * count) / all}\t${loadMs}`
    })
    const cpuPercent = (((await cpuMs(this.#server)) - before) * 100) / (performance.now() - startedAtMs)
    await sleep(restMs)
    const answers = await this.#ask(involved, () => 'tell')
    await this.#ask(involved, () => 'leave')
    const sortedMs = answers.flatMap((answer) => answer.split(' ').slice(1).map(Number))
    const expected = (perSecond * loadMs * (nodes.reduce((sum, count) => sum + count, 0) - 1)) / 1_000
    if (sortedMs.length < expected * 0.98)
      throw new Error(`${side}: ${sortedMs.length} of ${expected} marks arrived`)
    return { sortedMs, cpuPercent }
  }

  #ask(children: readonly NodeChild[], toLine: (index: number) => string): Promise<string[]> {
    return Promise.all(
      children.map((child) => {
        const line = toLine(this.#children.indexOf(child))
        child.send(line)
        return child.nextLine(line.split('\t', 1)[0] ?? '', 60_000)
      }),
    )
  }
}

async function cpuMs(server: RedisServer): Promise<number> {
  const info = String(await server.cli('INFO', 'cpu'))
  const seconds = [...info.matchAll(/^used_cpu_(?:sys|user):([\d.]+)/gm)].map(([, value]) => Number(value))
  return seconds.reduce((sum, value) => sum + value, 0) * 1_000
}

/** 20 nodes that all publish in turn, 200 marks a second all in all, which makes 3,800 deliveries a second: several figures of one measurement. */
function underLoad(crowd: Crowd, backend: 'redis' | 'rabbitmq', toSides: ToSides): BenchCase[] {
  const even = Array.from({ length: processes }, () => 20 / processes)
  const untold = new Map<string, Load[]>()
  const measure = (side: string) => async (): Promise<number> => {
    const load = await crowd.load(side, even, even)
    untold.set(side, [...(untold.get(side) ?? []), load])
    return quantileOf(load.sortedMs, 0.5)
  }
  /** Of the rounds of the first case, in their order. */
  const tell = (name: string, unit: string, figureOf: (load: Load) => number): BenchCase => {
    const told = new Map<string, number>()
    const sides = toSides((side) => () => {
      const round = told.get(side) ?? 0
      told.set(side, round + 1)
      const load = untold.get(side)?.[round]
      return load === undefined ? NaN : figureOf(load)
    })
    return { name, unit, better: 'lower', rounds: fewRounds, ...sides }
  }
  const median = `${backend} latency p50`
  return [
    { name: median, unit: 'ms', better: 'lower', rounds: fewRounds, ...toSides(measure) },
    tell(`${backend} latency p99`, 'ms', ({ sortedMs }) => quantileOf(sortedMs, 0.99)),
    ...(backend === 'redis' ? [tell('redis cpu', '% of a core', ({ cpuPercent }) => cpuPercent)] : []),
  ]
}

/** One more node publishes, all of the others hear it. */
function latencyOf(nodes: number, crowd: Crowd): BenchCase {
  const spread = Array.from({ length: processes }, (_, index) => Math.ceil((nodes - index) / processes))
  // The publisher is in the process with the fewest nodes.
  const counts = spread.map((count, index) => count + (index === processes - 1 ? 1 : 0))
  const publishers = spread.map((_, index) => (index === processes - 1 ? 1 : 0))
  const round = (side: string) => async (): Promise<number> =>
    quantileOf((await crowd.load(side, counts, publishers)).sortedMs, 0.5)
  return {
    name: `nodes ${nodes}`,
    unit: 'ms p50',
    better: 'lower',
    rounds: { warmUp: 0, counted: 3 },
    ...ofSides(sideNames, round),
  }
}

const publishes = 2_000

/** One at a time by the only node. */
function publishing(server: RedisServer): BenchCase {
  const round = (side: string) => async (): Promise<number> => {
    await server.flush()
    await using party = await joinSide(side, server.url, () => {})
    const samples: number[] = []
    for (let count = 0; count < publishes; count += 1) {
      const mark = markOf('alone')
      const startedAtMs = performance.now()
      await party.publish(mark)
      samples.push((performance.now() - startedAtMs) * 1_000)
    }
    return quantileOf(samples, 0.5)
  }
  return { name: 'redis publish', unit: 'us p50', better: 'lower', ...ofSides(sideNames, round) }
}

const onServer = (url: string): PubSubPlugin => redisPubSub({ url })
const besidePerSecond = 500
const besideForMs = 3_000

function besideSlow(server: RedisServer): BenchCase {
  const round = (join: JoinParty) => async (): Promise<number> => {
    await server.flush()
    const samples: number[] = []
    await using sender = await joinOn(onServer)(server.url, () => {})
    await using _hearer = await join(server.url, ({ sentAtMs }) => samples.push(machineMs() - sentAtMs))
    await sleep(settleMs)
    for (let left = (besideForMs * besidePerSecond) / 1_000; left > 0; left -= 1) {
      await Promise.all([sender.publish(markOf('sender')), sleep(1_000 / besidePerSecond)])
    }
    await sleep(restMs)
    return quantileOf(
      samples.sort((a, b) => a - b),
      0.99,
    )
  }
  return {
    name: 'beside slow',
    unit: 'ms p99',
    better: 'lower',
    rounds: fewRounds,
    ours: round(joinBesideSlow(onServer)),
    raw: round(joinOn(onServer)),
  }
}

const idleForMs = 30_000

/** All sides are idle during the same half minute, each on a server of its own, so that the commands are known by their destination. */
function idleNode(): BenchCase {
  let counted: Promise<Map<string, number>> | undefined
  const round = (side: string) => async (): Promise<number> => {
    counted ??= countIdle()
    return (await counted).get(side) ?? NaN
  }
  return {
    name: 'idle node',
    unit: 'commands/s',
    better: 'lower',
    rounds: { warmUp: 0, counted: 1 },
    ...ofSides(sideNames, round),
  }
}

async function countIdle(): Promise<Map<string, number>> {
  using sent = new SentCommands()
  const counts = sideNames.map(async (side): Promise<[string, number]> => {
    await using server = await startRedis()
    await using _node = await joinSide(side, server.url, () => {})
    await sleep(1_000)
    const before = sent.to(server.port)
    await sleep(idleForMs)
    return [side, ((sent.to(server.port) - before) * 1_000) / idleForMs]
  })
  return new Map(await Promise.all(counts))
}

const entries = 10_000
/** What keeps nothing uses no memory. */
const keeping = sideNames.filter((side) => !['PUBLISH/SUBSCRIBE', '@boringnode/bus'].includes(side))

/** What the server uses for so many marks more than for none. */
function memory(server: RedisServer): BenchCase {
  const round = (side: string) => async (): Promise<number> => {
    await server.flush()
    await using party = await joinSide(side, server.url, () => {})
    await party.publish(markOf('alone'))
    const before = await usedBytes(server)
    for (let done = 0; done < entries; done += 100)
      await Promise.all(Array.from({ length: 100 }, () => party.publish(markOf('alone'))))
    return ((await usedBytes(server)) - before) / 1e6
  }
  return {
    name: '10,000 entries',
    unit: 'MB',
    better: 'lower',
    rounds: { warmUp: 0, counted: 1 },
    ...ofSides(keeping, round),
  }
}

async function usedBytes(server: RedisServer): Promise<number> {
  const keys = String(await server.cli('KEYS', '*')).split(',')
  const sizes = await Promise.all(keys.map((key) => server.cli('MEMORY', 'USAGE', key, 'SAMPLES', '0')))
  return sizes.reduce((sum: number, size) => sum + Number(size), 0)
}

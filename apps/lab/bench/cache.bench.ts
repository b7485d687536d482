/**
 * Caches: ours (the portable type on cache-redis, with signals on Redis), raw (ioredis with GET and SET; a bare Map with a check of the time; SCAN and UNLINK to clear),
 * and other libraries. `L1` is what is in this process, in front of Redis; `L2` is Redis without that. The server is on this machine, values have 200 bytes of JSON, and all calls are awaited.
 *
 * Aims, not judged here: L1 hit and getOrSet hit >= 1.5 x the best peer, and <= 3 x raw; L2 hit and getOrSet hit on Redis <= 1.2 x raw, although ours reads a version, too; L2 throughput >= 0.9 x raw, which pipelines;
 * miss and fill <= 3 round trips; stampede 1; clear the same whatever is stored.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type RedisServer, startRedis } from '@multinode/testbed'
import { Redis } from 'ioredis'
import { type BenchValue, type CacheSide, type Tiers, valueOf } from './cache-side.ts'
import { openSide, rawOnRedis, sideNames } from './cache-sides.ts'
import { CountedTurns } from './counted-turns.ts'
import type { Bench, BenchCase, Round } from './harness.ts'
import { quantileOf } from './statistics.ts'

const bench: Bench = {
  about: 'caches: hits in process and on Redis, misses, stampedes, clearing; ours, raw and other libraries',
  async prepare(resources) {
    const server = resources.use(await startRedis())
    const inProcess = await openSides(server.url, 'both', resources)
    const onRedis = await openSides(server.url, 'redis', resources)
    for (const side of [...inProcess.values(), ...onRedis.values()]) await storeAll(side, hitKeys)
    return [
      inNanoseconds('L1 hit', inProcess, (side, key) => side.get(key)),
      oneAtATime('L2 hit', onRedis, (side, key) => side.get(key)),
      throughput(onRedis, pipeliningSide(server.url, resources)),
      inNanoseconds('getOrSet hit', inProcess, getOrMake),
      oneAtATime('getOrSet hit on Redis', onRedis, getOrMake),
      missAndFill(inProcess),
      await roundTrips(server, resources),
      await stampede(server.url, resources),
      clear(inProcess),
    ]
  },
}

export default bench

type Sides = ReadonlyMap<string, CacheSide>

async function openSides(url: string, tiers: Tiers, resources: AsyncDisposableStack): Promise<Sides> {
  const sides = new Map<string, CacheSide>()
  for (const name of sideNames) sides.set(name, resources.use(await openSide(name, url, tiers)))
  return sides
}

function ofAll(toRound: (name: string) => Round): Pick<BenchCase, 'ours' | 'raw' | 'peers'> {
  const peers = sideNames.filter((name) => name !== 'ours' && name !== 'raw')
  return {
    ours: toRound('ours'),
    raw: toRound('raw'),
    peers: Object.fromEntries(peers.map((name) => [name, toRound(name)])),
  }
}

function sideOf(sides: Sides, name: string): CacheSide {
  const side = sides.get(name)
  if (side === undefined) throw new Error(`nobody is called ${name}`)
  return side
}

const hitKeys = Array.from({ length: 1_000 }, (_, index) => `user:${index}`)

async function storeAll(side: CacheSide, keys: readonly string[]): Promise<void> {
  await inLanes(keys, (key) => side.set(key, valueOf(key)))
}

const lanes = 64

/** So many at once. */
async function inLanes(keys: readonly string[], work: (key: string) => unknown): Promise<void> {
  const left = keys.values()
  const lane = async (): Promise<void> => {
    for (const key of left) await work(key)
  }
  await Promise.all(Array.from({ length: lanes }, lane))
}

type Ask = (side: CacheSide, key: string) => unknown

const getOrMake: Ask = (side, key) => side.getOrSet(key, failToMake)

async function failToMake(): Promise<BenchValue> {
  throw new Error('a value that was stored is asked for again')
}

const hitsInProcess = 100

function inNanoseconds(name: string, sides: Sides, ask: Ask): BenchCase {
  const toRound = (sideName: string): Round => {
    const side = sideOf(sides, sideName)
    return async () => {
      await storeAll(side, hitKeys)
      const startedAtMs = performance.now()
      for (let turn = 0; turn < hitsInProcess; turn += 1) for (const key of hitKeys) await ask(side, key)
      return ((performance.now() - startedAtMs) * 1e6) / (hitsInProcess * hitKeys.length)
    }
  }
  return { name, unit: 'ns', better: 'lower', ...ofAll(toRound) }
}

function oneAtATime(name: string, sides: Sides, ask: Ask): BenchCase {
  const toRound = (sideName: string): Round => {
    const side = sideOf(sides, sideName)
    return () => medianUs(hitKeys, (key) => ask(side, key))
  }
  return { name, unit: 'us p50', better: 'lower', ...ofAll(toRound) }
}

async function medianUs(keys: readonly string[], work: (key: string) => unknown): Promise<number> {
  const samples: number[] = []
  for (const key of keys) {
    const startedAtMs = performance.now()
    await work(key)
    samples.push((performance.now() - startedAtMs) * 1_000)
  }
  return quantileOf(samples, 0.5)
}

/** ioredis that sends the commands of one turn as one pipeline: the fastest that it can do by itself. */
function pipeliningSide(url: string, resources: AsyncDisposableStack): CacheSide {
  const client = new Redis(new URL('/1', url).href, { enableAutoPipelining: true })
  const close = async (): Promise<void> => void (await client.quit())
  resources.defer(close)
  return { ...rawOnRedis(client), [Symbol.asyncDispose]: close }
}

const hitsInLanes = Array.from({ length: 10 }, () => hitKeys).flat()

function throughput(sides: Sides, pipelining: CacheSide): BenchCase {
  const toRound =
    (side: CacheSide): Round =>
    async () => {
      const startedAtMs = performance.now()
      await inLanes(hitsInLanes, (key) => side.get(key))
      return (hitsInLanes.length * 1_000) / (performance.now() - startedAtMs)
    }
  const all = ofAll((name) => toRound(sideOf(sides, name)))
  return {
    name: 'L2 throughput',
    unit: 'operations/s',
    better: 'higher',
    ...all,
    raw: toRound(pipelining),
    peers: { ...all.peers, 'not pipelined': toRound(sideOf(sides, 'raw')) },
  }
}

let madeKeys = 0

function newKeys(count: number): string[] {
  return Array.from({ length: count }, () => {
    madeKeys += 1
    return `new:${madeKeys}`
  })
}

function fill(side: CacheSide, key: string): unknown {
  return side.getOrSet(key, async () => valueOf(key))
}

function missAndFill(sides: Sides): BenchCase {
  const toRound = (name: string): Round => {
    const side = sideOf(sides, name)
    return () => medianUs(newKeys(500), (key) => fill(side, key))
  }
  return { name: 'miss and fill', unit: 'us p50', better: 'lower', ...ofAll(toRound) }
}

/** Of one miss with its fill. */
async function roundTrips(server: RedisServer, resources: AsyncDisposableStack): Promise<BenchCase> {
  const turns = resources.use(await CountedTurns.before(server.port))
  const sides = await openSides(turns.url, 'redis', resources)
  const toRound = (name: string): Round => {
    const side = sideOf(sides, name)
    return async () => {
      const counts: number[] = []
      for (const key of newKeys(20)) {
        const before = turns.count
        await fill(side, key)
        counts.push(turns.count - before)
      }
      return quantileOf(counts, 0.5)
    }
  }
  return {
    name: 'miss and fill',
    unit: 'round trips',
    better: 'lower',
    rounds: { warmUp: 1, counted: 3 },
    ...ofAll(toRound),
  }
}

const nodes = 10
const callsOfNode = 100
const factoryMs = 50

/** How often the value of a cold key is made, when all nodes ask for it at once. */
async function stampede(url: string, resources: AsyncDisposableStack): Promise<BenchCase> {
  const crowd = await Promise.all(Array.from({ length: nodes }, () => openSides(url, 'both', resources)))
  const toRound = (name: string): Round => {
    const sides = crowd.map((each) => sideOf(each, name))
    return async () => {
      const [key = ''] = newKeys(1)
      let runs = 0
      const make = async (): Promise<BenchValue> => {
        runs += 1
        await sleep(factoryMs)
        return valueOf(key)
      }
      const ask = async (side: CacheSide): Promise<void> => void (await side.getOrSet(key, make))
      await Promise.all(sides.flatMap((side) => Array.from({ length: callsOfNode }, () => ask(side))))
      return runs
    }
  }
  return {
    name: 'stampede',
    unit: 'factory runs',
    better: 'lower',
    rounds: { warmUp: 1, counted: 3 },
    ...ofAll(toRound),
  }
}

const restMs = 100
const clearedKeys = Array.from({ length: 10_000 }, (_, index) => `cleared:${index}`)

function clear(sides: Sides): BenchCase {
  const toRound = (name: string): Round => {
    const side = sideOf(sides, name)
    return async () => {
      await storeAll(side, clearedKeys)
      // What other nodes are told of that is still under way.
      await sleep(restMs)
      const startedAtMs = performance.now()
      await side.clear()
      return performance.now() - startedAtMs
    }
  }
  return {
    name: 'clear, 10,000 entries',
    unit: 'ms',
    better: 'lower',
    rounds: { warmUp: 1, counted: 5 },
    ...ofAll(toRound),
  }
}

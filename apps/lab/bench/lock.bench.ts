/**
 * Locks on Redis: ours (the portable type on lock-redis), raw ioredis (SET NX PX, and compare-and-delete in Lua; asks again every 100 ms while it
 * waits), and other libraries with their defaults. All are on ioredis 6 with the same settings, @verrou/core too, which asks for 5; the
 * server is on this machine.
 *
 * Aims, not judged here: uncontended p50 <= 1.25 x raw; hand-off p50 <= 1 ms and p99 <= 10 ms; 20 contenders <= 1.3 x the ideal, which is
 * the column `one by one`; idle waiter <= 15 commands a minute.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type NodeChild, spawnNode, startRedis } from '@multinode/testbed'
import type { Bench, BenchCase, Round } from './harness.ts'
import type { LockParty } from './lock-party.ts'
import { joinSide, LockSides, sideNames } from './lock-sides.ts'
import { SentCommands } from './sent-commands.ts'
import { quantileOf } from './statistics.ts'

const bench: Bench = {
  about: 'locks on Redis: alone, handed on, contended and waiting; ours, raw ioredis and other libraries',
  async prepare(resources) {
    const { url } = resources.use(await startRedis())
    const sides = await LockSides.join(url, resources)
    const others = await LockSides.join(url, resources)
    return [
      uncontended(sides),
      ...handOff(sides, others),
      ...contended(await startContenders(url, resources)),
      idleWaiter(),
    ]
  },
}

export default bench

/** Long ones, each with many samples in it. */
const fewRounds = { warmUp: 1, counted: 5 }

type Sides = Pick<BenchCase, 'ours' | 'raw' | 'peers'>

function ofAllSides(toRound: (side: string) => Round): Sides {
  const peers = sideNames.filter((side) => side !== 'ours' && side !== 'raw')
  return {
    ours: toRound('ours'),
    raw: toRound('raw'),
    peers: Object.fromEntries(peers.map((side) => [side, toRound(side)])),
  }
}

/** Two figures of one measurement: the rounds of the first ones make both, and those of the second ones tell theirs, in the same order. */
function ofOneMeasurement(measure: (side: string) => Promise<[number, number]>): [Sides, Sides] {
  const untold = new Map<string, number[]>()
  const first = ofAllSides((side) => async () => {
    const [figure, other] = await measure(side)
    untold.set(side, [...(untold.get(side) ?? []), other])
    return figure
  })
  return [first, ofAllSides((side) => () => untold.get(side)?.shift() ?? NaN)]
}

const pairs = 2_000

function uncontended(sides: LockSides): BenchCase {
  const round = (side: string) => async (): Promise<number> => {
    const { acquire } = sides.party(side)
    const samples: number[] = []
    for (let pair = 0; pair < pairs; pair += 1) {
      const startedAtMs = performance.now()
      const release = await acquire(`alone:${side}`)
      await release()
      samples.push((performance.now() - startedAtMs) * 1000)
    }
    return quantileOf(samples, 0.5)
  }
  return { name: 'uncontended', unit: 'us', better: 'lower', ...ofAllSides(round) }
}

/** Each with a lock of its own, at the same time: many samples, although a lock is held for longer than most poll. */
const couples = 10
const handOffForMs = 2_000

/** From the call of release by one party to the lock in the hands of the other, who waits already; they are two connections of this process. */
function handOff(sides: LockSides, others: LockSides): BenchCase[] {
  const [median, worst] = ofOneMeasurement(async (side) => {
    const couple = [sides.party(side), others.party(side)] as const
    const keys = Array.from({ length: couples }, (_, index) => `handed:${side}:${index}`)
    const samples = (await Promise.all(keys.map((key) => handToAndFro(couple, key)))).flat()
    return [quantileOf(samples, 0.5), quantileOf(samples, 0.99)]
  })
  const shared = { unit: 'ms', better: 'lower', rounds: fewRounds } as const
  return [
    { name: 'hand-off', ...shared, ...median },
    { name: 'hand-off p99', ...shared, ...worst },
  ]
}

async function handToAndFro(couple: readonly [LockParty, LockParty], key: string): Promise<number[]> {
  const samples: number[] = []
  const untilMs = performance.now() + handOffForMs
  let [holder, waiter] = couple
  let release = await holder.acquire(key)
  while (performance.now() < untilMs) {
    const waiting = waiter.acquire(key)
    // Longer than any of them pauses between two attempts, so that all phases of that are met.
    await sleep(10 + Math.random() * 250)
    const releasedAtMs = performance.now()
    const releasing = release()
    release = await waiting
    samples.push(performance.now() - releasedAtMs)
    await releasing
    ;[holder, waiter] = [waiter, holder]
  }
  await release()
  return samples
}

const processes = 4
const callers = 5
const turns = 10
const holdMs = 5

function startContenders(url: string, resources: AsyncDisposableStack): Promise<NodeChild[]> {
  const start = async (): Promise<NodeChild> => {
    const child = resources.use(
      await spawnNode(new URL('lock-contender.ts', import.meta.url), { env: { REDIS_URL: url } }),
    )
    await child.nextLine('ready')
    return child
  }
  return Promise.all(Array.from({ length: processes }, start))
}

/** 4 processes with 5 callers each, who all take the same lock 10 times and hold it for 5 ms. */
function contended(contenders: readonly NodeChild[]): BenchCase[] {
  const [time, commands] = ofOneMeasurement(async (side) => {
    const startedAtMs = performance.now()
    for (const contender of contenders)
      contender.send(`${side} contended:${side} ${callers} ${turns} ${holdMs}`)
    const answers = await Promise.all(contenders.map((contender) => contender.nextLine('done', 120_000)))
    const totalMs = performance.now() - startedAtMs
    const sent = answers.reduce((sum, answer) => sum + Number(answer.split(' ')[1]), 0)
    return [totalMs, sent / (processes * callers * turns)]
  })
  return [
    {
      name: '20 contenders',
      unit: 'ms',
      better: 'lower',
      rounds: fewRounds,
      ...time,
      peers: { ...time.peers, 'one by one': oneByOne },
    },
    {
      name: 'commands per contended acquisition',
      unit: 'commands',
      better: 'lower',
      rounds: fewRounds,
      ...commands,
    },
  ]
}

/** The same holds without a lock, one after the other: nobody can be faster. */
async function oneByOne(): Promise<number> {
  const startedAtMs = performance.now()
  for (let hold = 0; hold < processes * callers * turns; hold += 1) await sleep(holdMs)
  return performance.now() - startedAtMs
}

const idleForMs = 60_000

/** All sides wait during the same minute, in which nothing else happens. */
function idleWaiter(): BenchCase {
  let minute: Promise<Map<string, number>> | undefined
  const round = (side: string) => async (): Promise<number> => {
    minute ??= idleMinute()
    return (await minute).get(side) ?? NaN
  }
  return {
    name: 'idle waiter',
    unit: 'commands a minute',
    better: 'lower',
    rounds: { warmUp: 0, counted: 1 },
    ...ofAllSides(round),
  }
}

async function idleMinute(): Promise<Map<string, number>> {
  using sent = new SentCommands()
  const counts = sideNames.map(async (side) => [side, await commandsOfWaiter(side, sent)] as const)
  return new Map(await Promise.all(counts))
}

/** On a server of its own, so that the commands are known by their destination. */
async function commandsOfWaiter(side: string, sent: SentCommands): Promise<number> {
  await using server = await startRedis()
  await using holder = await joinSide(side, server.url)
  await using waiter = await joinSide(side, server.url)
  const release = await holder.acquire('idle')
  const waiting = waiter.acquire('idle')
  await sleep(1_000)
  const before = sent.to(server.port)
  await sleep(idleForMs)
  const commands = sent.to(server.port) - before
  await release()
  const releaseToo = await waiting
  await releaseToo()
  return (commands * 60_000) / idleForMs
}

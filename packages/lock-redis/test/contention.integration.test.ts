import {
  figure,
  type NodeChild,
  serversAvailable,
  spawnNode,
  startMonitor,
  startRedis,
  waitUntil,
} from '@multinode/testbed'
import type { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'

const processes = 4
const waiters = 5
const rounds = figure({ slice: 5, full: 10 })
const acquisitions = processes * waiters * rounds
/** As many turns as there are others. */
const fairTurns = processes * waiters - 1

/** `fifo`: the lock as it is. `none`: the same without its queue. `no lock`: nothing keeps them apart. */
type How = 'fifo' | 'none' | 'no lock'

interface Contention {
  /** Sections during which another one was under way. */
  readonly overlaps: number
  /** Grants that came before one whose owner had its place earlier. */
  readonly inversions: number
  /** How many others were granted between the place of each and its own grant; sorted. */
  readonly turns: readonly number[]
}

describe.skipIf(!serversAvailable())('many waiters in several processes', { timeout: 60_000 }, () => {
  it('are alone with the lock, and have it in the order in which they asked', async () => {
    const { overlaps, inversions, turns } = await contention('fifo')
    expect(overlaps).toBe(0)
    expect(inversions).toBeLessThanOrEqual(acquisitions / 100)
    // In turns, not in ms: on a busy machine the latter tell how busy it was at which moment.
    const median = turns[acquisitions / 2] ?? NaN
    expect(median).toBeGreaterThan(fairTurns / 2)
    expect(turns.at(-1), 'the longest').toBeLessThanOrEqual(1.5 * median)
  })

  it('the control: without the queue many pass others, and some wait for long', async () => {
    const { overlaps, inversions, turns } = await contention('none')
    expect(overlaps).toBe(0)
    expect(inversions).toBeGreaterThan(acquisitions / 10)
    expect(turns.at(-1), 'the longest').toBeGreaterThan(1.5 * (turns[acquisitions / 2] ?? NaN))
  })

  it('the control: without the lock they meet', async () => {
    const { overlaps } = await contention('no lock')
    expect(overlaps).toBeGreaterThan(acquisitions / 10)
  })
})

async function contention(how: How): Promise<Contention> {
  await using server = await startRedis()
  await using stack = new AsyncDisposableStack()
  const env = {
    REDIS_URL: server.url,
    HOW: how,
    PROCESSES: String(processes),
    WAITERS: String(waiters),
    ROUNDS: String(rounds),
  }
  const file = new URL('./fixtures/contender.ts', import.meta.url)
  const children = await Promise.all(Array.from({ length: processes }, () => spawnNode(file, { env })))
  for (const child of children) stack.use(child)
  for (const child of children) await child.nextLine('ready')
  const log = await GrantLog.start(server.url)
  stack.defer(() => log.stop())
  for (const child of children) child.send('go')
  const overlaps = await Promise.all(children.map(overlapsIn))
  const grants = how === 'no lock' ? 0 : acquisitions
  await waitUntil('the log to tell all', () => log.turns().length === grants)
  return {
    overlaps: overlaps.reduce((sum, each) => sum + each, 0),
    inversions: log.inversions(),
    turns: log.turns(),
  }
}

async function overlapsIn(child: NodeChild): Promise<number> {
  return Number((await child.nextLine('done', 60_000)).split(' ')[1])
}

/**
 * In which order the server took the requests, and in which it granted them: it executes one script after the other, and MONITOR tells
 * in that order what they do. The place of an owner is where it was put into the queue (the last time, should it have missed its turn),
 * or its first request where it was not put there.
 */
class GrantLog {
  readonly #monitor: Redis
  readonly #client: Redis
  /** By owner: after how many grants. */
  readonly #places = new Map<string, { readonly index: number; readonly grantedBefore: number }>()
  readonly #granted: string[] = []
  #count = 0

  constructor(client: Redis, monitor: Redis) {
    this.#client = client
    this.#monitor = monitor
    monitor.on('monitor', (_: string, words: readonly string[]) => this.#note(words))
  }

  static async start(url: string): Promise<GrantLog> {
    const { client, monitor } = await startMonitor(url)
    return new GrantLog(client, monitor)
  }

  stop(): void {
    this.#monitor.disconnect()
    this.#client.disconnect()
  }

  /** Grants that came before one whose owner had its place earlier. */
  inversions(): number {
    let inversions = 0
    let earliestLater = Infinity
    for (const owner of this.#granted.toReversed()) {
      const { index } = this.#placeOf(owner)
      if (earliestLater < index) inversions += 1
      earliestLater = Math.min(earliestLater, index)
    }
    return inversions
  }

  /** How many others were granted between the place of an owner and its grant; sorted. */
  turns(): number[] {
    const turns = this.#granted.map((owner, index) => index - this.#placeOf(owner).grantedBefore)
    return turns.toSorted((a, b) => a - b)
  }

  #placeOf(owner: string): { readonly index: number; readonly grantedBefore: number } {
    const place = this.#places.get(owner)
    if (place === undefined) throw new Error(`${owner} was granted the lock and never asked for it`)
    return place
  }

  /** ACQUIRE has five keys, of which the lease is the first, and then the owner. */
  #note([command, ...words]: readonly string[]): void {
    if (command === 'evalsha' && words[1] === '5' && words[2] === leaseKey) this.#noteRequest(words[7])
    if (command === 'ZADD' && words[0] === queueKey) this.#noteEnqueued(words[2])
    if (command === 'HSET' && words[0] === leaseKey) this.#granted.push(words[4] ?? '')
  }

  #noteRequest(owner = ''): void {
    if (!this.#places.has(owner)) this.#noteEnqueued(owner)
  }

  #noteEnqueued(owner = ''): void {
    this.#count += 1
    this.#places.set(owner, { index: this.#count, grantedBefore: this.#granted.length })
  }
}

const leaseKey = '{shop:lock:key}:lease'
const queueKey = '{shop:lock:key}:queue'

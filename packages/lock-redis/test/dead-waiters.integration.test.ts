import type { Lease } from '@multinode/core'
import {
  figure,
  type NodeChild,
  serversAvailable,
  spawnNode,
  startRedis,
  waitUntil,
  withLateness,
} from '@multinode/testbed'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { claimMs } from '../src/lock-server.ts'
import { releaseLua } from '../src/release.lua.ts'
import { type Node, node } from './node.ts'

const leaseKey = '{shop:lock:key}:lease'
const queueKey = '{shop:lock:key}:queue'
const waitersKey = '{shop:lock:key}:waiters'
const minuteMs = 60_000
/** What waiting may take besides what is waited for. */
const roomMs = 100
/** How much longer than it was told a waiter may pause. */
const jitter = 1.1

const faults = {
  killed: async (child: NodeChild): Promise<unknown> => child.kill(),
  frozen: (child: NodeChild): Promise<unknown> => child.pause(),
}

describe.skipIf(!serversAvailable()).concurrent('one who waits', () => {
  const rounds = figure({ slice: 1, full: 20 })
  const times = rounds === 1 ? 'once' : `${rounds} times`
  const timeout = 300_000

  it.for(['killed', 'frozen'] as const)(
    `is granted the lock within the claim time of a waiter before it that is %s: ${times}`,
    { timeout },
    async (fault, { annotate }) => {
      await using queue = await Queue.start()
      const waits: number[] = []
      for (let round = 0; round < rounds; round += 1) {
        const held = await queue.hold(minuteMs)
        const head = await queue.waitingProcess(1)
        const second = await queue.waiter(2)
        await faults[fault](head)
        const { waitedMs, inAllMs, lateMs } = await queue.timeToServe(second, () => held.release())
        waits.push(waitedMs)
        expect(inAllMs, 'the control: it was not its turn').toBeGreaterThan(claimMs / 2)
        expect(waitedMs).toBeLessThan(claimMs + roomMs + lateMs)
        await head.kill()
        await queue.clear()
      }
      await annotate(summary(waits))
    },
  )

  it('the control: has to wait for as long as something is reserved, or granted, to a dead waiter before it', async () => {
    await using queue = await Queue.start()
    const reservedMs = 2_000
    await queue.hold(minuteMs)
    const head = await queue.waitingProcess(1)
    const second = await queue.waiter(2)
    await head.kill()
    const { inAllMs } = await queue.timeToServe(second, () => queue.releaseReserving(reservedMs))
    expect(inAllMs).toBeGreaterThan(reservedMs - 10)
  })

  it(
    `is granted the lock soon after its time when the holder and the waiter before it are killed at once: ${times}`,
    { timeout },
    async ({ annotate }) => {
      await using queue = await Queue.start()
      const ttlMs = 3_000
      const waits: number[] = []
      for (let round = 0; round < rounds; round += 1) {
        const [holder, head] = await Promise.all([queue.startProcess(), queue.startProcess()])
        const expiresAt = await queue.holdIn(holder, ttlMs)
        await queue.waitIn(head, 1)
        const second = await queue.waiter(2)
        const { servedAt, lateMs } = await queue.timeToServe(second, () =>
          Promise.all([holder.kill(), head.kill()]),
        )
        waits.push(servedAt - expiresAt)
        // Nobody says that the lease has ended: it is asked for when it should have.
        const noticedMs = (jitter - 1) * ttlMs
        expect(servedAt - expiresAt).toBeLessThan(noticedMs + jitter * claimMs + roomMs + lateMs)
        await queue.clear()
      }
      await annotate(summary(waits))
    },
  )

  it('is granted the lock within its own poll of 5 s when two waiters before it are frozen', async ({
    annotate,
  }) => {
    await using queue = await Queue.start()
    const held = await queue.hold(minuteMs)
    const first = await queue.waitingProcess(1)
    const second = await queue.waitingProcess(2)
    const third = await queue.waiter(3)
    await Promise.all([first.pause(), second.pause()])
    const { waitedMs, lateMs } = await queue.timeToServe(third, () => held.release())
    await annotate(summary([waitedMs]))
    expect(waitedMs).toBeLessThan(jitter * (5_000 + 2 * claimMs) + roomMs + lateMs)
  })
})

interface Service {
  /** Since the fault was over. */
  readonly waitedMs: number
  /** Since it began: at least so long after what the server did. */
  readonly inAllMs: number
  readonly servedAt: number
  readonly lateMs: number
}

/** One lock, with two nodes of this process, of which one holds and one waits, and processes that hold or wait until something is done to them. */
class Queue implements AsyncDisposable {
  readonly #url: string
  readonly #admin: Redis
  readonly #here: Node
  readonly #there: Node
  readonly #stack: AsyncDisposableStack

  private constructor(parts: {
    url: string
    admin: Redis
    here: Node
    there: Node
    stack: AsyncDisposableStack
  }) {
    this.#url = parts.url
    this.#admin = parts.admin
    this.#here = parts.here
    this.#there = parts.there
    this.#stack = parts.stack
  }

  static async start(): Promise<Queue> {
    await using stack = new AsyncDisposableStack()
    const { url } = stack.use(await startRedis())
    const admin = stack.adopt(new Redis(url), async (client) => client.disconnect())
    const here = stack.use(await node(url, { clusterName: 'shop' }))
    const there = stack.use(await node(url, { clusterName: 'shop' }))
    return new Queue({ url, admin, here, there, stack: stack.move() })
  }

  hold(ttlMs: number): Promise<Lease> {
    return this.#here.locks.acquire('key', { ttlMs })
  }

  async startProcess(): Promise<NodeChild> {
    const file = new URL('./fixtures/holder.ts', import.meta.url)
    const child = this.#stack.use(await spawnNode(file, { env: { REDIS_URL: this.#url } }))
    await child.nextLine('ready')
    return child
  }

  /** @returns when the server will end the lease */
  async holdIn(child: NodeChild, ttlMs: number): Promise<number> {
    child.send(`acquire ${ttlMs}`)
    await child.nextLine('acquired')
    return this.#admin.pexpiretime(leaseKey)
  }

  async waitIn(child: NodeChild, place: number): Promise<void> {
    child.send(`acquire ${minuteMs}`)
    await this.#untilInLine(place)
  }

  async waitingProcess(place: number): Promise<NodeChild> {
    const child = await this.startProcess()
    await this.waitIn(child, place)
    return child
  }

  /** @returns what is served when the lock has been granted and given back */
  async waiter(place: number): Promise<() => Promise<number>> {
    const granted = this.#there.locks.acquire('key', { ttlMs: minuteMs, waitMs: minuteMs })
    await this.#untilInLine(place)
    return async () => {
      const lease = await granted
      const servedAt = Date.now()
      await lease.release()
      return servedAt
    }
  }

  async timeToServe(served: () => Promise<number>, fault: () => Promise<unknown>): Promise<Service> {
    const { result, sumMs: lateMs } = await withLateness(
      async () => this.#admin.ping(),
      async () => {
        const beganAt = Date.now()
        await fault()
        const faultAt = Date.now()
        const servedAt = await served()
        return { servedAt, waitedMs: servedAt - faultAt, inAllMs: servedAt - beganAt }
      },
    )
    return { ...result, lateMs }
  }

  /** As the release of this lock, but what it reserves for the first waiter is so for longer. */
  async releaseReserving(reservedMs: number): Promise<void> {
    const owner = (await this.#admin.hget(leaseKey, 'owner')) ?? ''
    const args = [owner, 'shop:lock:wake:', reservedMs]
    await this.#admin.eval(releaseLua, 3, leaseKey, queueKey, waitersKey, ...args)
  }

  /** Nothing is held and nobody waits: what the dead left is removed. */
  async clear(): Promise<void> {
    await this.#admin.del(leaseKey, queueKey, waitersKey)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync()
  }

  /** That many wait, and all can be told. */
  async #untilInLine(place: number): Promise<void> {
    await waitUntil(`${place} waiters that can be told`, async () => {
      const channels = await this.#admin.pubsub('CHANNELS', 'shop:lock:wake:*')
      return (await this.#admin.zcard(queueKey)) === place && channels.length >= place
    })
  }
}

/** For the verbose reporter. */
function summary(waits: readonly number[]): string {
  const sorted = waits.toSorted((a, b) => a - b).map((ms) => Math.round(ms))
  return `waited ${sorted[sorted.length >> 1]} ms (median), ${sorted.at(-1)} ms (longest)`
}

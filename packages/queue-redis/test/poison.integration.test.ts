import {
  type NodeChild,
  type RedisServer,
  serversAvailable,
  spawnNode,
  startRedis,
  waitUntil,
} from '@multinode/testbed'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { node } from './node.ts'

const leaseMs = 1_000
const neighbours = 200
const maxCrashes = 2
const timeout = 120_000

describe.skipIf(!serversAvailable()).concurrent('a job whose handler ends the process', { timeout }, () => {
  it(`is a dead letter after ${maxCrashes} crashes and one start more, and all its neighbours run`, async ({
    annotate,
  }) => {
    await using server = await startRedis({ aof: true })
    await using one = await node(server.url)
    const queue = one.queues.open<string>('jobs')
    await using workers = new Restarted(server, maxCrashes)
    await using records = admin(server)
    const names = Array.from({ length: neighbours }, (_, index) => `${index}`)
    const payloads = [...names.slice(0, neighbours / 2), 'poison', ...names.slice(neighbours / 2)]
    await queue.addMany(payloads.map((payload) => ({ payload })))
    workers.start(2)
    const isDead = async (): Promise<boolean> => (await queue.counts()).dead === 1
    await waitUntil('a dead letter', isDead, { deadlineMs: 60_000 })
    const isDone = async (): Promise<boolean> => (await records.client.hlen('done')) === neighbours
    await waitUntil('all neighbours to run', isDone, { deadlineMs: 30_000 })
    const done = await records.client.hgetall('done')
    const twice = Object.values(done).filter((times) => times !== '1').length
    await annotate(`${workers.crashes} crashes, ${twice} neighbours run twice`)
    expect(await queue.deadLetters.list()).toMatchObject([
      { payload: 'poison', failure: { reason: 'crashed' } },
    ])
    expect(new Set(Object.keys(done))).toEqual(new Set(names))
    expect(await records.client.get('poisoned')).toBe(`${maxCrashes + 1}`)
    expect(workers.crashes, 'the control: each start was a crash').toBe(maxCrashes + 1)
    await waitUntil('nothing to be left', async () => (await queue.counts()).active === 0)
    expect(await queue.counts()).toMatchObject({ waiting: 0, delayed: 0, dead: 1 })
  })

  it('the control: is started again and again where crashes are not limited', async () => {
    await using server = await startRedis({ aof: true })
    await using one = await node(server.url)
    const queue = one.queues.open<string>('jobs')
    await using workers = new Restarted(server, 1_000)
    await using records = admin(server)
    await queue.add('poison')
    workers.start(2)
    const isStartedAgain = async (): Promise<boolean> => Number(await records.client.get('poisoned')) >= 5
    await waitUntil('a fifth start', isStartedAgain, { deadlineMs: 60_000 })
    expect(await queue.counts()).toMatchObject({ dead: 0 })
  })
})

function admin(server: RedisServer): { readonly client: Redis } & AsyncDisposable {
  const client = new Redis(server.url)
  return { client, [Symbol.asyncDispose]: async () => client.disconnect() }
}

/** Worker processes that are started again whenever they end. */
class Restarted implements AsyncDisposable {
  readonly #server: RedisServer
  readonly #maxCrashes: number
  readonly #living = new Set<NodeChild>()
  #loops: readonly Promise<void>[] = []
  #isOver = false
  crashes = 0

  constructor(server: RedisServer, maxCrashes: number) {
    this.#server = server
    this.#maxCrashes = maxCrashes
  }

  start(count: number): void {
    this.#loops = Array.from({ length: count }, () => this.#keepUp())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true
    await Promise.all([...this.#living].map((child) => child.stop()))
    await Promise.all(this.#loops)
  }

  async #keepUp(): Promise<void> {
    while (!this.#isOver) {
      await using child = await spawnNode(new URL('./fixtures/poisoned-worker.ts', import.meta.url), {
        env: {
          REDIS_URL: this.#server.url,
          LEASE_MS: `${leaseMs}`,
          MAX_CRASHES: `${this.#maxCrashes}`,
        },
      })
      this.#living.add(child)
      if (this.#isOver) return
      const { code } = await child.exited
      this.#living.delete(child)
      if (code === 1) this.crashes += 1
    }
  }
}

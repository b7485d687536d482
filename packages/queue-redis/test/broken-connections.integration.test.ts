import { setTimeout as sleep } from 'node:timers/promises'
import { pluginContext } from '@multinode/core/testing'
import {
  CountingClock,
  figure,
  publishAt,
  type SeededRandom,
  seededRandom,
  serversAvailable,
  startRedis,
  type TcpProxy,
  tcpProxy,
  waitUntil,
} from '@multinode/testbed'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { heapUsed } from './heap.ts'
import { JobsRun } from './jobs-run.ts'
import { node } from './node.ts'

const leaseMs = 2_000
const callTimeoutMs = 2_000

/** Until it is over: a fault, then peace for 0.5 to 3 s. @returns how many of them there were */
async function breakLinks(proxy: TcpProxy, random: SeededRandom, isOver: () => boolean): Promise<number> {
  const faults: readonly (() => Promise<void>)[] = [
    async () => {
      proxy.blackhole()
      await sleep(random.between(200, 1_500))
      proxy.blackhole(false)
    },
    async () => proxy.reset(),
    async () => {
      proxy.delay(200)
      await sleep(random.between(500, 1_500))
      proxy.delay(0)
    },
    async () => proxy.fin(),
  ]
  let count = 0
  for (; !isOver(); count += 1) {
    await faults[count % faults.length]?.()
    await sleep(random.between(500, 3_000))
  }
  return count
}

/** The control: a list that is popped. What it lost is gone. */
class BareList implements Disposable {
  readonly #seen = new Set<string>()
  readonly #pushing: Redis
  readonly #popping: Redis
  #pushed = 0

  /** @param faulty where the jobs are taken */
  constructor(url: string, faulty: string) {
    this.#pushing = new Redis(url)
    this.#popping = new Redis(faulty, { maxRetriesPerRequest: null })
    this.#popping.on('error', () => {})
    void this.#pop().catch(() => {})
  }

  async push(): Promise<void> {
    await this.#pushing.lpush('bare', String((this.#pushed += 1)))
  }

  get left(): Promise<number> {
    return this.#pushing.llen('bare')
  }

  get lost(): number {
    return this.#pushed - this.#seen.size
  }

  [Symbol.dispose](): void {
    this.#pushing.disconnect()
    this.#popping.disconnect()
  }

  async #pop(): Promise<void> {
    for (;;) {
      const popped = await this.#popping.brpop('bare', 0)
      if (popped !== null) this.#seen.add(popped[1])
    }
  }
}

describe.skipIf(!serversAvailable())('jobs over connections that break', () => {
  const chaosMs = figure({ slice: 10_000, full: 600_000 })
  const total = figure({ slice: 2_500, full: 50_000 })
  const lanes = 50

  it(
    `are none of them lost: ${total} in ${chaosMs / 1_000} s of resets, orderly ends, silence and delays`,
    { timeout: chaosMs + 120_000 },
    async ({ annotate }) => {
      await using server = await startRedis()
      await using proxy = await tcpProxy(server.port)
      const url = `redis://127.0.0.1:${proxy.port}`
      await using adding = await node(url, { callTimeoutMs })
      await using working = await node(url, { callTimeoutMs })
      await using stack = new AsyncDisposableStack()
      const bare = stack.use(new BareList(server.url, url))
      const random = seededRandom()
      const jobs = new JobsRun()
      const queue = adding.queues.open<number>('jobs')
      const worker = await working.queues.open<number>('jobs').process(
        async ({ payload }) => {
          await sleep(5)
          jobs.ran(payload)
        },
        { concurrency: 20, leaseMs },
      )
      await jobs.add(queue)
      const links = proxy.connections()
      const endsAtMs = performance.now() + chaosMs
      const isOver = (): boolean => performance.now() >= endsAtMs && jobs.count('added') >= total
      const addInTurn = async (): Promise<void> => {
        while (!isOver()) await Promise.all([jobs.add(queue), sleep((lanes * chaosMs) / total)])
      }
      const [faults] = await Promise.all([
        breakLinks(proxy, random, isOver),
        ...Array.from({ length: lanes }, addInTurn),
        publishAt(100, chaosMs / 10, [() => bare.push()]),
      ])
      proxy.heal()
      await jobs.allRan()
      await waitUntil('none to be left', async () => {
        const { waiting, active, delayed } = await queue.counts()
        return waiting === 0 && active === 0 && delayed === 0
      })
      await waitUntil('the list to be empty', async () => (await bare.left) === 0)
      await annotate(
        `seed ${random.seed}: ${faults} faults, ${String(jobs)}, the bare list lost ${bare.lost}`,
      )
      const { lost, lies } = jobs
      expect({ lost, lies, dead: (await queue.counts()).dead }).toEqual({ lost: 0, lies: 0, dead: 0 })
      expect(bare.lost, 'the control: a list that is popped').toBeGreaterThan(0)
      // One that nobody used meanwhile may still be on its way back.
      await waitUntil('all connections, and no more', () => proxy.connections() === links)
      await worker.close()
    },
  )

  const rounds = figure({ slice: 20, full: 300 })

  it(
    `leave nothing behind: no connection, no handle, no timer and no memory after ${rounds} resets`,
    { timeout: rounds * 2_000 + 60_000 },
    async ({ annotate }) => {
      await using server = await startRedis()
      await using proxy = await tcpProxy(server.port)
      const clock = new CountingClock(pluginContext().clock)
      // Each add has to go on through a reset, also on a machine that stands still for seconds meanwhile.
      const one = await node(`redis://127.0.0.1:${proxy.port}`, { callTimeoutMs: 10_000, clock })
      const queue = one.queues.open<number>('jobs')
      let runs = 0
      await queue.process(() => void (runs += 1), { concurrency: 10, leaseMs })
      const links = proxy.connections()
      const round = async (): Promise<void> => {
        proxy.reset()
        const before = runs
        await Promise.all(Array.from({ length: 100 }, (_, each) => queue.add(each)))
        await waitUntil('all to run', () => runs >= before + 100, { everyMs: 5 })
        await waitUntil('all connections', () => proxy.connections() === links, { everyMs: 5 })
      }
      const held = async (): Promise<{ timers: number; sockets: number; bytes: number }> => {
        // What a worker always has: its tick and the look at its gate, and at times a call of one of them.
        await waitUntil('no deadline to be left', () => clock.pending <= 3)
        const sockets = process.getActiveResourcesInfo().filter((each) => /TCP|TLS/.test(each)).length
        return { timers: clock.pending, sockets, bytes: await heapUsed() }
      }
      // What a process needs once is there then.
      for (let each = 0; each < 10; each += 1) await round()
      const before = await held()
      const connected = await connectionsSoFar(server.cli('INFO', 'stats'))
      for (let each = 0; each < rounds; each += 1) await round()
      const after = await held()
      const grownKiB = Math.round((after.bytes - before.bytes) / 1_024)
      await annotate(`${grownKiB} KiB after ${rounds} rounds of 100 jobs, ${after.timers} timers`)
      expect(after.sockets).toBe(before.sockets)
      // Less than half of what the jobs alone would take if they were kept, at 500 bytes each.
      expect(after.bytes - before.bytes).toBeLessThan(rounds * 100 * 250)
      expect(
        (await connectionsSoFar(server.cli('INFO', 'stats'))) - connected,
        'the control',
      ).toBeGreaterThanOrEqual(rounds * links)
      await one.close()
      await waitUntil('no connection', () => proxy.connections() === 0)
      await waitUntil('no timer', () => clock.pending === 0)
    },
  )
})

async function connectionsSoFar(info: Promise<unknown>): Promise<number> {
  return Number(/^total_connections_received:(\d+)/m.exec(String(await info))?.[1])
}

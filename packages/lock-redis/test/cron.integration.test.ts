import {
  figure,
  type NodeChild,
  serversAvailable,
  spawnNode,
  startRedis,
  waitUntil,
} from '@multinode/testbed'
import { Redis } from 'ioredis'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { node } from './node.ts'

const everyMs = 50
const jobKey = '{shop:lock-job:job}:job'
/** How far the clocks of the five nodes are ahead, at first. */
const skewsMs = [3_000, 1_500, 0, -1_500, -3_000]

interface Run {
  readonly fireMs: number
  readonly token: number
}

describe.skipIf(!serversAvailable())('a scheduled job on several nodes', async () => {
  const server = await startRedis()
  const admin = new Redis(server.url)
  afterAll(async () => {
    admin.disconnect()
    await server.stop()
  })
  beforeEach(() => server.flush())

  const fires = figure({ slice: 30, full: 1_000 })
  it(`is run once at each of ${fires} times, by clocks that differ by up to six seconds and are set again and again`, async () => {
    const { firstMs, runs, duplicates } = await runsOf('claim', fires, async (nodes) => {
      // Every half second another one is ahead.
      for (let turn = 1; turn * 10 < fires; turn += 1) {
        await untilFire(nodes.firstMs + turn * 10 * everyMs)
        for (const index of skewsMs.keys())
          nodes.setClock((index + turn) % skewsMs.length, skewsMs[index] ?? 0)
      }
      await untilFire(nodes.firstMs + (fires - 1) * everyMs)
      for (const index of skewsMs.keys()) nodes.setClock(index, 3_000)
    })
    expect(runs.map(({ fireMs }) => (fireMs - firstMs) / everyMs)).toEqual([...Array(fires).keys()])
    const tokens = runs.map(({ token }) => token)
    expect(tokens).toEqual([...new Set(tokens)].toSorted((a, b) => a - b))
    expect(duplicates, 'all five asked each time').toBe(4 * fires)
  }, 120_000)

  it('the control: is run several times by a lock that is given back at its end', async () => {
    const { runs } = await runsOf('lock', 10, async (nodes) => {
      await nodes.children[0]?.exited
      for (const index of skewsMs.keys()) nodes.setClock(index, 3_000)
    })
    expect(runs.length).toBeGreaterThan(10)
  })

  it('is run at its next time after its runner was killed, once atMostMs are over, and not before', async () => {
    await using stack = new AsyncDisposableStack()
    const firstMs = Date.now()
    const runner = stack.use(await cronNode('hang', 1, 4_000))
    await using other = await node(server.url, { clusterName: 'shop' })
    runner.send(String(firstMs))
    const [, , token] = (await runner.nextLine('ran')).split(' ')
    const untilMs = Number(await admin.hget(jobKey, 'until'))
    await runner.kill()
    const claim = (fireMs: number) => other.locks.claimFire('job', fireMs, { atMostMs: 500 })
    expect(await claim(firstMs)).toEqual({ status: 'duplicate' })
    let busy = 0
    const run = await waitUntil('the next one to run', async () => {
      const next = await claim(firstMs + everyMs)
      if (next.status === 'busy') busy += 1
      return next.status === 'run' ? next : undefined
    })
    expect(busy).toBeGreaterThan(0)
    expect(await serverMs()).toBeGreaterThanOrEqual(untilMs)
    expect(run.token).toBeGreaterThan(Number(token))
    await run.done()
    const after = await claim(firstMs + 2 * everyMs)
    expect(after.status, 'the control: nobody was killed').toBe('run')
  })

  it('is not claimed by a node whose clock is too far ahead, which changes nothing', async () => {
    await using one = await node(server.url, { clusterName: 'shop' })
    const options = { atMostMs: 1_000, maxSkewMs: 5_000 }
    const farMs = 10 * 24 * 3_600_000
    const nowMs = Date.now()
    await expect(one.locks.claimFire('job', nowMs + farMs, options)).rejects.toMatchObject({
      code: 'CLOCK_SKEW',
    })
    expect(await admin.keys('*')).toEqual([])
    const first = await one.locks.claimFire('job', nowMs, options)
    if (first.status === 'run') await first.done()
    const before = await admin.hgetall(jobKey)
    await expect(one.locks.claimFire('job', nowMs + 60_000, options)).rejects.toMatchObject({
      code: 'CLOCK_SKEW',
      details: { maxSkewMs: 5_000 },
    })
    expect(await admin.hgetall(jobKey)).toEqual(before)
    const next = await one.locks.claimFire('job', nowMs + 4_000, options)
    expect(next.status).toBe('run')
    if (next.status === 'run') await next.done()
    // The control: with no limit, one such node uses up the schedule.
    const poison = await one.locks.claimFire('job', nowMs + farMs, { ...options, maxSkewMs: 2 * farMs })
    expect(poison.status).toBe('run')
    expect(await one.locks.claimFire('job', nowMs + 5_000, options)).toEqual({ status: 'duplicate' })
  })

  /** What five nodes did; `during` may set their clocks. */
  async function runsOf(
    how: 'claim' | 'lock',
    count: number,
    during: (nodes: CronNodes) => Promise<void>,
  ): Promise<{ firstMs: number; runs: Run[]; duplicates: number }> {
    await using stack = new AsyncDisposableStack()
    const children = await Promise.all(skewsMs.map(() => cronNode(how, count, 60_000)))
    for (const child of children) stack.use(child)
    const nodes = new CronNodes(children, how === 'claim' ? Date.now() + 3_100 : Date.now())
    for (const [index, skewMs] of skewsMs.entries()) nodes.setClock(index, skewMs)
    for (const child of children) child.send(String(nodes.firstMs))
    await during(nodes)
    await Promise.all(children.map((child) => child.nextLine('done', 60_000)))
    const output = children.map((child) => child.output()).join('')
    return {
      firstMs: nodes.firstMs,
      runs: runsIn(output),
      duplicates: output.match(/^duplicate$/gm)?.length ?? 0,
    }
  }

  async function cronNode(
    how: 'claim' | 'lock' | 'hang',
    count: number,
    atMostMs: number,
  ): Promise<NodeChild> {
    const child = await spawnNode(new URL('./fixtures/cron-node.ts', import.meta.url), {
      env: {
        REDIS_URL: server.url,
        HOW: how,
        FIRES: String(count),
        EVERY_MS: String(everyMs),
        AT_MOST_MS: String(atMostMs),
      },
      clock: true,
    })
    await child.nextLine('ready')
    return child
  }

  async function untilFire(fireMs: number): Promise<void> {
    const last = async (): Promise<number> => Number(await admin.hget(jobKey, 'last'))
    await waitUntil('a fire', async () => (await last()) >= fireMs, { deadlineMs: 60_000, everyMs: 10 })
  }

  async function serverMs(): Promise<number> {
    const [seconds, us] = await admin.time()
    return Number(seconds) * 1_000 + Math.floor(Number(us) / 1_000)
  }
})

class CronNodes {
  readonly children: readonly NodeChild[]
  /** When the job is to run for the first time. */
  readonly firstMs: number
  readonly #aheadMs: number[]
  readonly #ended = new Set<number>()

  constructor(children: readonly NodeChild[], firstMs: number) {
    this.children = children
    this.firstMs = firstMs
    this.#aheadMs = children.map(() => 0)
    for (const [index, child] of children.entries()) void child.exited.then(() => this.#ended.add(index))
  }

  setClock(index: number, aheadMs: number): void {
    if (this.#ended.has(index)) return
    this.children[index]?.moveClock(aheadMs - (this.#aheadMs[index] ?? 0))
    this.#aheadMs[index] = aheadMs
  }
}

/** By their time. */
function runsIn(output: string): Run[] {
  const lines = output.matchAll(/^ran (\d+) (\d+)$/gm)
  const runs = [...lines].map(([, fireMs, token]) => ({ fireMs: Number(fireMs), token: Number(token) }))
  return runs.toSorted((a, b) => a.fireMs - b.fireMs)
}

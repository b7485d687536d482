import { setTimeout as sleep } from 'node:timers/promises'
import { figure, serversAvailable, startRedis, stolenMs, waitUntil } from '@multinode/testbed'
import { describe, expect, it } from 'vitest'
import { JobsRun } from './jobs-run.ts'
import { node } from './node.ts'

describe.skipIf(!serversAvailable())('a node that is not idle', { timeout: 60_000 }, () => {
  const total = figure({ slice: 500, full: 10_000 })

  it(`begins none of ${total} jobs, which two others run, and takes jobs again when it is idle`, async () => {
    await using server = await startRedis()
    const nodes = await Promise.all([node(server.url), node(server.url), node(server.url)])
    await using stack = new AsyncDisposableStack()
    for (const each of nodes) stack.use(each)
    const jobs = new JobsRun()
    const begun = [0, 0, 0]
    let isIdle = false
    await Promise.all(
      nodes.map((each, index) =>
        each.queues.open<number>('jobs').process(
          async ({ payload }) => {
            begun[index] = (begun[index] ?? 0) + 1
            await sleep(2)
            jobs.ran(payload)
          },
          { concurrency: 5, idle: () => index !== 0 || isIdle },
        ),
      ),
    )
    const queue = nodes[1]?.queues.open<number>('jobs')
    if (queue === undefined) throw new Error('three nodes')
    for (let lot = 0; lot < total; lot += 100)
      await Promise.all(Array.from({ length: 100 }, () => jobs.add(queue)))
    await jobs.allRan()
    expect(jobs).toMatchObject({ lost: 0, again: 0 })
    expect(begun[0]).toBe(0)
    expect(Number(begun[1]) + Number(begun[2])).toBe(total)
    isIdle = true
    await waitUntil('it to begin one', async () => {
      await jobs.add(queue)
      return Number(begun[0]) > 0
    })
    await jobs.allRan()
    for (const each of nodes)
      expect(each.queues.stats()).toMatchObject({ failed: 0, lockLost: 0, settleIgnored: 0 })
  })

  it('keeps no job back: what it took as it stopped to be idle is begun elsewhere within a second, as its first attempt', async ({
    annotate,
  }) => {
    await using server = await startRedis()
    await using here = await node(server.url)
    await using there = await node(server.url)
    let isIdle = true
    const seen: { readonly where: string; readonly attempt: number }[] = []
    const options = { concurrency: 5, leaseMs: 60_000 }
    await here.queues.open('jobs').process(
      ({ attempt }) => {
        seen.push({ where: 'here', attempt })
        isIdle = false
      },
      { ...options, idle: () => isIdle },
    )
    await there.queues
      .open('jobs')
      .process(({ attempt }) => void seen.push({ where: 'there', attempt }), options)
    const queue = there.queues.open<number>('jobs')
    let longestMs = 0
    for (let round = 0; round < 10; round += 1) {
      isIdle = true
      const before = seen.length
      await waitUntil('it to begin one', async () => {
        await queue.addMany(Array.from({ length: 20 }, (_, payload) => ({ payload })))
        return !isIdle
      })
      const stoppedAtMs = performance.now()
      await waitUntil('all to run', async () => {
        const { waiting, active } = await queue.counts()
        return waiting === 0 && active === 0
      })
      longestMs = Math.max(longestMs, performance.now() - stoppedAtMs)
      const begunHere = seen.slice(before).filter(({ where }) => where === 'here')
      expect(begunHere.length, 'the control').toBeGreaterThan(0)
    }
    await annotate(`all had run after ${Math.round(longestMs)} ms at most`)
    // What is kept back comes after its lease, a minute.
    expect(longestMs).toBeLessThan(1_000 + 2_000 + stolenMs())
    expect(seen.every(({ attempt }) => attempt === 1)).toBe(true)
    expect(seen.length).toBe(there.queues.stats().added)
  })
})

describe.skipIf(!serversAvailable()).concurrent('a server that gives no jobs', () => {
  it.each(['rpoplpush', 'bzpopmin'])(
    'because its user lacks +%s is asked about once a second, not as fast as it refuses, and jobs run when it gives them',
    async (command) => {
      await using server = await startRedis()
      const setUser = (rule: string): Promise<unknown> =>
        server.cli('ACL', 'SETUSER', 'app', 'on', '>of-app', '~*', '&*', '+@all', rule)
      await setUser(`-${command}`)
      await using one = await node(server.url.replace('//', '//app:of-app@'))
      const refused = async (): Promise<number> => {
        const counts = String(await server.cli('INFO', 'commandstats'))
        const [, count = 0] = new RegExp(`cmdstat_${command}:.*rejected_calls=(\\d+)`).exec(counts) ?? []
        return Number(count)
      }
      const queue = one.queues.open<number>('jobs')
      const seen: number[] = []
      // Before the first refusal, which may be seen late.
      const startedAtMs = performance.now()
      await queue.process(({ payload }) => void seen.push(payload))
      await waitUntil('the eighth refusal', async () => (await refused()) >= 8)
      // A busy machine can only make it later.
      expect(performance.now() - startedAtMs).toBeGreaterThan(2_000)
      expect(String(one.reported)).toContain('lacks a permission')
      expect(one.reported).toHaveLength(1)
      await setUser(`+${command}`)
      await queue.add(1)
      await waitUntil('it to run', () => seen.length > 0)
    },
  )
})

describe.skipIf(!serversAvailable())('jobs of one publisher', { timeout: 120_000 }, () => {
  const total = figure({ slice: 2_000, full: 20_000 })

  it.for(['one by one', 'many on their way', 'together'] as const)(
    `that are added %s are begun in order by a worker that runs one at a time: ${total}`,
    async (how) => {
      await using server = await startRedis()
      await using adding = await node(server.url, { callTimeoutMs: 30_000 })
      await using working = await node(server.url, { callTimeoutMs: 30_000 })
      const queue = adding.queues.open<number>('jobs')
      const order: number[] = []
      await working.queues.open<number>('jobs').process(({ payload }) => void order.push(payload))
      const numbers = Array.from({ length: total }, (_, each) => each)
      if (how === 'one by one') for (const each of numbers) await queue.add(each)
      else if (how === 'many on their way') await Promise.all(numbers.map((each) => queue.add(each)))
      else await queue.addMany(numbers.map((payload) => ({ payload })))
      await waitUntil('all to run', () => order.length >= total, { deadlineMs: 60_000 })
      expect(order).toEqual(numbers)
    },
  )

  it('the control: end in another order when several run at once', async () => {
    await using server = await startRedis()
    await using one = await node(server.url)
    const queue = one.queues.open<number>('jobs')
    const order: number[] = []
    await queue.process(
      async ({ payload }) => {
        await sleep(payload % 2 === 0 ? 20 : 0)
        order.push(payload)
      },
      { concurrency: 10 },
    )
    const numbers = Array.from({ length: 100 }, (_, each) => each)
    for (const each of numbers) await queue.add(each)
    await waitUntil('all to run', () => order.length === 100)
    expect(order).not.toEqual(numbers)
    expect(order.toSorted((here, there) => here - there)).toEqual(numbers)
  })
})

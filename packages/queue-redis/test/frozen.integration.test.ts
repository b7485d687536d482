import { setTimeout as sleep } from 'node:timers/promises'
import {
  figure,
  publishAt,
  type RedisServer,
  serversAvailable,
  spawnNode,
  startRedis,
  stolenMs,
  waitUntil,
} from '@multinode/testbed'
import { describe, expect, it } from 'vitest'
import { JobsRun } from './jobs-run.ts'
import { node } from './node.ts'

const leaseMs = 1_500
const keys = '{shop:queue:jobs}:v1:'

/** How often the server was told, and believed, that each job is done. */
async function completions(server: RedisServer): Promise<Map<string, number>> {
  const counts = new Map<string, number>()
  const entries: unknown = await server.cli('XRANGE', `${keys}events`, '-', '+')
  for (const entry of Array.isArray(entries) ? entries : []) {
    const [, fields]: readonly unknown[] = Array.isArray(entry) ? entry : []
    const words = Array.isArray(fields) ? fields.map(String) : []
    const id = words[words.indexOf('jobId') + 1] ?? ''
    if (words[words.indexOf('event') + 1] === 'completed') counts.set(id, (counts.get(id) ?? 0) + 1)
  }
  return counts
}

describe.skipIf(!serversAvailable()).concurrent('jobs', { timeout: 120_000 }, () => {
  const freezeMs = figure({ slice: 2_500, full: 10_000 })

  it(`are none of them lost, and none is settled twice, when Redis stands still for ${freezeMs} ms, longer than their leases`, async ({
    annotate,
  }) => {
    await using server = await startRedis()
    await using adding = await node(server.url, { callTimeoutMs: 20_000 })
    await using working = await node(server.url, { callTimeoutMs: 20_000 })
    const jobs = new JobsRun()
    const queue = adding.queues.open<number>('jobs')
    await working.queues.open<number>('jobs').process(
      async ({ payload, signal }) => {
        jobs.ran(payload)
        await sleep(300, undefined, { signal }).catch(() => {})
      },
      { concurrency: 20, leaseMs },
    )
    // Not more, because the server keeps about a thousand events.
    const total = 120
    await Promise.all([
      publishAt(60, total, [async () => void (await jobs.add(queue))]),
      (async () => {
        await waitUntil('some to run', () => jobs.order.length >= 20)
        await server.pause()
        await sleep(freezeMs)
        server.resume()
      })(),
    ])
    await jobs.allRan()
    await waitUntil('none to be left', async () => {
      const { waiting, active, delayed } = await queue.counts()
      return waiting === 0 && active === 0 && delayed === 0
    })
    const { lockLost, settleIgnored } = working.queues.stats()
    await annotate(`${String(jobs)}; ${lockLost} were told, ${settleIgnored} ignored`)
    expect(jobs).toMatchObject({ lost: 0, lies: 0 })
    expect(lockLost + settleIgnored, 'the control: leases were lost').toBeGreaterThan(0)
    const counts = await completions(server)
    expect([...counts.values()].filter((count) => count !== 1)).toEqual([])
    expect(counts.size).toBe(jobs.count('added'))
    expect(await queue.counts()).toMatchObject({ dead: 0 })
  })

  it('of a process that stands still for longer than its lease run elsewhere; when it wakes up it is told, and what it says of them is ignored', async ({
    annotate,
  }) => {
    await using server = await startRedis()
    await using one = await node(server.url)
    const queue = one.queues.open<number>('jobs')
    await using child = await spawnNode(new URL('fixtures/telling-worker.ts', import.meta.url), {
      // Its handlers have not ended when it wakes up, also where it took a while to be frozen.
      env: { REDIS_URL: server.url, LEASE_MS: String(leaseMs), WORK_MS: '3000' },
    })
    await child.nextLine('ready', 20_000)
    const added = await queue.addMany([0, 1, 2, 3, 4].map((payload) => ({ payload })))
    const ids = added.map((result) => (result.status === 'failed' ? '' : result.id))
    for (const id of ids) await child.nextLine(`took ${id}`)
    await child.pause()
    const frozenAtMs = performance.now()
    const ranHere = new Map<string, boolean>()
    await queue.process(({ id, redelivered }) => void ranHere.set(id, redelivered), {
      leaseMs,
      concurrency: 5,
    })
    await waitUntil('all to run here', () => ranHere.size === 5)
    const takenOverAfterMs = performance.now() - frozenAtMs
    await annotate(`taken over after ${Math.round(takenOverAfterMs)} ms`)
    expect(takenOverAfterMs).toBeLessThan(leaseMs * 1.25 + 1_000 + 500 + stolenMs())
    expect([...ranHere.values()]).toEqual([true, true, true, true, true])
    await waitUntil('all to be done', async () => (await queue.counts()).active === 0)
    child.resume()
    for (const id of ids) {
      expect(await child.nextLine(`ended ${id}`)).toBe(`ended ${id} lock-lost`)
      await child.nextLine(`settle-ignored ${id}`)
    }
    expect(child.output()).not.toContain('completed')
    expect(await completions(server)).toEqual(new Map(ids.map((id) => [id, 1])))
    expect(await queue.counts()).toMatchObject({ waiting: 0, active: 0, delayed: 0, dead: 0 })
    // It takes jobs again.
    await queue.pause('node')
    const { id } = await queue.add(5)
    await child.nextLine(`took ${id}`)
    await child.nextLine(`completed ${id}`)
  })

  it('whose lock is removed while they run are run by another node, and their first one settles nothing', async () => {
    await using server = await startRedis()
    await using here = await node(server.url)
    await using there = await node(server.url)
    const told: string[] = []
    let end = (): void => {}
    const gate = new Promise<void>((resolve) => (end = resolve))
    const started: string[] = []
    const first = here.queues.open('jobs')
    const second = there.queues.open('jobs')
    for (const name of ['completed', 'lock-lost', 'settle-ignored'] as const) {
      first.on(name, ({ id }) => void told.push(`here ${name} ${id}`))
      second.on(name, ({ id }) => void told.push(`there ${name} ${id}`))
    }
    await first.process(
      async ({ id }) => {
        started.push(id)
        // Heeds no signal.
        await gate
      },
      { leaseMs, handlerGraceMs: 60_000 },
    )
    const { id } = await first.add(1)
    await waitUntil('it to run', () => started.length === 1)
    expect(await server.cli('DEL', `${keys}${id}:lock`)).toBe(1)
    const removedAtMs = performance.now()
    await waitUntil('it to be told', () => told.length > 0, { everyMs: 5 })
    expect(performance.now() - removedAtMs).toBeLessThan(leaseMs / 4 + 250 + stolenMs())
    await second.process(() => {}, { leaseMs })
    await waitUntil('the other one to run it', () => told.includes(`there completed ${id}`))
    end()
    await waitUntil('the first one to end', () => told.includes(`here settle-ignored ${id}`))
    expect(told).toEqual([`here lock-lost ${id}`, `there completed ${id}`, `here settle-ignored ${id}`])
    await waitUntil('none to be left', async () => (await second.counts()).active === 0)
    expect(await completions(server)).toEqual(new Map([[id, 1]]))
    expect(started).toEqual([id])
  })
})

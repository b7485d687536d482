import { isMultinodeError, type MultinodeError } from '@multinode/core'
import { figure, serversAvailable, startRedis, waitUntil } from '@multinode/testbed'
import { Queue as BullQueue } from 'bullmq'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { JobsRun } from './jobs-run.ts'
import { node } from './node.ts'

const neighbours = 1_000
const mebibyte = 1_048_576

describe.skipIf(!serversAvailable())('a job that is too large', { timeout: 60_000 }, () => {
  const tooLarge = { code: 'TOO_LARGE', outcome: 'not-sent', retryable: false }
  const large = [
    ['by its payload', { payload: 'x'.repeat(17 * mebibyte) }],
    ['by its headers', { payload: 1, options: { headers: { trace: 'x'.repeat(mebibyte) } } }],
    [
      'by both together',
      { payload: 'x'.repeat(mebibyte / 2), options: { headers: { trace: 'x'.repeat(mebibyte / 2) } } },
    ],
  ] as const

  it.for(large)('%s is refused alone, among 1,000 that are on their way', async ([, item]) => {
    await using server = await startRedis()
    await using one = await node(server.url, { callTimeoutMs: 30_000 })
    const queue = one.queues.open<unknown>('jobs')
    const before = Array.from({ length: neighbours / 2 }, (_, each) => queue.add(each))
    const refused = queue.add(item.payload, 'options' in item ? item.options : {})
    const after = Array.from({ length: neighbours / 2 }, (_, each) => queue.add(each))
    await expect(refused).rejects.toMatchObject(tooLarge)
    const added = await Promise.all([...before, ...after])
    expect(added.filter(({ status }) => status === 'added')).toHaveLength(neighbours)
    expect(await queue.counts()).toMatchObject({ waiting: neighbours })
  })

  it.for(large)('%s is refused alone, in the middle of 1,000 that are sent together', async ([, item]) => {
    await using server = await startRedis()
    await using one = await node(server.url, { callTimeoutMs: 30_000 })
    const queue = one.queues.open<unknown>('jobs')
    const items = Array.from({ length: neighbours }, (_, payload) => ({ payload }))
    const results = await queue.addMany([...items.slice(0, 500), item, ...items.slice(500)])
    expect(results[500]).toMatchObject({ status: 'failed', error: tooLarge })
    expect(results.filter(({ status }) => status === 'added')).toHaveLength(neighbours)
    expect(await queue.counts()).toMatchObject({ waiting: neighbours })
  })

  it('the control: BullMQ puts 17 MiB into the memory of the server', async () => {
    await using server = await startRedis()
    const client = new Redis(server.url, { maxRetriesPerRequest: null })
    const raw = new BullQueue('raw', { connection: client })
    await raw.add('job', 'x'.repeat(17 * mebibyte))
    expect(await raw.getWaitingCount()).toBe(1)
    await raw.close()
    client.disconnect()
  })
})

describe.skipIf(!serversAvailable())('while Redis is full', { timeout: 120_000 }, () => {
  const memory = `${8 * mebibyte}`
  const kibibytes = 16
  const perLot = figure({ slice: 500, full: 2_000 })

  async function startSmall(): ReturnType<typeof startRedis> {
    return await startRedis({ args: ['--maxmemory', memory, '--maxmemory-policy', 'noeviction'] })
  }

  it('each add says for itself whether its job is there, and what was there before it was full runs', async ({
    annotate,
  }) => {
    await using server = await startSmall()
    await using one = await node(server.url, { callTimeoutMs: 2_000 })
    const queue = one.queues.open<string>('jobs')
    const text = 'x'.repeat(kibibytes * 1_024)
    // There is room for them: none is to fail because a busy machine is late.
    await using patient = await node(server.url, { callTimeoutMs: 30_000 })
    const adding = patient.queues.open<string>('jobs')
    const small = await Promise.all(
      Array.from({ length: neighbours }, (_, each) => adding.add(`small ${each}`)),
    )
    const results = await Promise.allSettled(
      Array.from({ length: 700 }, (_, each) => queue.add(`large ${each} ${text}`)),
    )
    const refused = results.filter((each) => each.status === 'rejected')
    // It is tried again until its time is over, which may be in the middle of a try.
    const codes = new Set<unknown>(refused.map(({ reason }) => isMultinodeError(reason) && reason.code))
    expect([...codes]).toContain('EXHAUSTED')
    expect([...codes].filter((code) => code !== 'EXHAUSTED' && code !== 'TIMEOUT')).toEqual([])
    const added = results.length - refused.length
    const unknown = refused.filter(
      ({ reason }) => isMultinodeError(reason) && reason.outcome === 'unknown',
    ).length
    await annotate(`${added} were added until it was full, ${refused.length} were refused`)
    expect(refused.length, 'the control: it was full').toBeGreaterThan(0)
    expect(added).toBeGreaterThan(0)
    const { waiting } = await queue.counts()
    expect(waiting).toBeGreaterThanOrEqual(small.length + added)
    expect(waiting).toBeLessThanOrEqual(small.length + added + unknown)
    await server.cli('CONFIG', 'SET', 'maxmemory', '0')
    const seen = new Set<string>()
    await queue.process(({ payload }) => void seen.add(payload.slice(0, 12)), { concurrency: 50 })
    await waitUntil('all to run', () => one.queues.stats().completed === waiting)
    expect(one.queues.stats()).toMatchObject({ failed: 0, dead: 0 })
    expect([...seen].filter((each) => each.startsWith('small'))).toHaveLength(neighbours)
  })

  it('each of many that are sent together has a result of its own', async ({ annotate }) => {
    await using server = await startSmall()
    // What is refused is tried again for so long; what has room must be answered within it.
    await using one = await node(server.url, { callTimeoutMs: 4_000 })
    const queue = one.queues.open<string>('jobs')
    const payload = 'x'.repeat(kibibytes * 1_024)
    let added = 0
    let refused: MultinodeError[] = []
    for (let lot = 0; refused.length === 0; lot += 1) {
      const results = await queue.addMany(Array.from({ length: perLot }, () => ({ payload })))
      refused = results.flatMap((each) => (each.status === 'failed' ? [each.error] : []))
      added += perLot - refused.length
      if (refused.length > 0) await annotate(`${refused.length} of ${perLot} were refused in lot ${lot}`)
    }
    expect(refused.filter(({ code }) => code !== 'EXHAUSTED' && code !== 'TIMEOUT')).toEqual([])
    const unknown = refused.filter(({ outcome }) => outcome === 'unknown').length
    const { waiting } = await queue.counts()
    expect(waiting).toBeGreaterThanOrEqual(added)
    expect(waiting).toBeLessThanOrEqual(added + unknown)
    // Not by pipelines of 250, all of whose jobs would fail with one of them.
    expect(added % 250).not.toBe(0)
    await server.cli('CONFIG', 'SET', 'maxmemory', '0')
    await queue.add('again')
  })

  it('jobs that run end as ever: each is done, once', async () => {
    await using server = await startSmall()
    await using one = await node(server.url, { callTimeoutMs: 2_000 })
    const queue = one.queues.open<number>('jobs')
    const jobs = new JobsRun()
    let open = (): void => {}
    const gate = new Promise<void>((resolve) => (open = resolve))
    await queue.process(
      async ({ payload }) => {
        jobs.ran(payload)
        await gate
      },
      { concurrency: 20 },
    )
    await Promise.all(Array.from({ length: 20 }, () => jobs.add(queue)))
    await waitUntil('all to run', () => jobs.order.length === 20)
    await server.cli('CONFIG', 'SET', 'maxmemory', '1')
    open()
    await waitUntil('all to end', () => one.queues.stats().completed === 20)
    await expect(server.cli('SET', 'key', 'value'), 'the control').rejects.toThrow('OOM')
    const failure: unknown = await queue.add(99).catch((error: unknown) => error)
    expect(isMultinodeError(failure) && failure.code).toMatch(/^(EXHAUSTED|TIMEOUT)$/)
    await waitUntil('all to be done', async () => (await queue.counts()).active === 0)
    expect(await queue.counts()).toMatchObject({ waiting: 0, delayed: 0, dead: 0 })
    expect(jobs).toMatchObject({ lost: 0, again: 0 })
    expect(one.queues.stats()).toMatchObject({ settleIgnored: 0, failed: 0 })
  })
})

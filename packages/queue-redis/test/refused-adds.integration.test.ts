import { isMultinodeError } from '@multinode/core'
import { figure, serversAvailable, startRedis, waitUntil } from '@multinode/testbed'
import { Queue as BullQueue } from 'bullmq'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { JobsRun } from './jobs-run.ts'
import { node } from './node.ts'

const neighbours = 1_000
const mebibyte = 1_048_576

describe.skipIf(!serversAvailable()).concurrent('a job that is too large', { timeout: 60_000 }, () => {
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
    await using one = await node(server.url)
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
    await using one = await node(server.url)
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

describe.skipIf(!serversAvailable()).concurrent('while Redis is full', { timeout: 120_000 }, () => {
  const memory = `${16 * mebibyte}`
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
    const small = await Promise.all(
      Array.from({ length: neighbours }, (_, each) => queue.add(`small ${each}`)),
    )
    const results = await Promise.allSettled(
      Array.from({ length: 1_500 }, (_, each) => queue.add(`large ${each} ${text}`)),
    )
    const refused = results.filter((each) => each.status === 'rejected')
    for (const { reason } of refused) expect(reason).toMatchObject({ code: 'EXHAUSTED', retryable: true })
    const added = results.length - refused.length
    await annotate(`${added} were added until it was full, ${refused.length} were refused`)
    expect(refused.length, 'the control: it was full').toBeGreaterThan(0)
    expect(added).toBeGreaterThan(0)
    expect(await queue.counts()).toMatchObject({ waiting: small.length + added })
    await server.cli('CONFIG', 'SET', 'maxmemory', '0')
    const seen = new Set<string>()
    await queue.process(({ payload }) => void seen.add(payload.slice(0, 12)), { concurrency: 50 })
    await waitUntil('all to run', () => one.queues.stats().completed === small.length + added)
    expect(one.queues.stats()).toMatchObject({ failed: 0, dead: 0 })
    expect([...seen].filter((each) => each.startsWith('small'))).toHaveLength(neighbours)
  })

  it('each of many that are sent together has a result of its own', async ({ annotate }) => {
    await using server = await startSmall()
    await using one = await node(server.url, { callTimeoutMs: 1_000 })
    const queue = one.queues.open<string>('jobs')
    const payload = 'x'.repeat(kibibytes * 1_024)
    const codes = new Set<string>()
    let added = 0
    for (let lot = 0; codes.size === 0; lot += 1) {
      const results = await queue.addMany(Array.from({ length: perLot }, () => ({ payload })))
      const refused = results.filter((each) => each.status === 'failed')
      for (const { error } of refused) codes.add(error.code)
      added += results.length - refused.length
      if (refused.length > 0) await annotate(`${refused.length} of ${perLot} were refused in lot ${lot}`)
    }
    expect([...codes]).toEqual(['EXHAUSTED'])
    expect(await queue.counts()).toMatchObject({ waiting: added })
    await server.cli('CONFIG', 'SET', 'maxmemory', '0')
    await queue.add('again')
  })

  it('jobs that end are not lost and not failed: each is done when there is room again', async () => {
    await using server = await startSmall()
    await using one = await node(server.url, { callTimeoutMs: 500 })
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
    const failure: unknown = await queue.add(99).catch((error: unknown) => error)
    expect(isMultinodeError(failure) && failure.code, 'the control').toBe('EXHAUSTED')
    expect(await queue.counts(), 'the control').toMatchObject({ active: 20 })
    await server.cli('CONFIG', 'SET', 'maxmemory', '0')
    await waitUntil('all to be done', async () => (await queue.counts()).active === 0)
    expect(await queue.counts()).toMatchObject({ waiting: 0, delayed: 0, dead: 0 })
    expect(jobs).toMatchObject({ lost: 0, again: 0 })
    expect(one.queues.stats()).toMatchObject({ settleIgnored: 0, failed: 0 })
  })
})

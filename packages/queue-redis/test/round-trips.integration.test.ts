import { setTimeout as sleep } from 'node:timers/promises'
import { serversAvailable, startRedis, waitUntil, Wire } from '@multinode/testbed'
import { Queue as BullQueue, Worker as BullWorker } from 'bullmq'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { node } from './node.ts'

const count = 100

function tally(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1
  return counts
}

describe.skipIf(!serversAvailable())('on the wire', () => {
  it.for([
    ['a plain job', {}],
    ['a delayed job', { delayMs: 60_000 }],
    ['one with a dedupe key', { dedupe: { key: 'own' } }],
  ] as const)('an add of %s is one EVALSHA', async ([, options]) => {
    await using server = await startRedis()
    using wire = await Wire.tap(server)
    await using one = await node(server.url)
    const queue = one.queues.open<number>('jobs')
    await queue.add(0, options)
    const sent = await wire.namesDuring(async () => {
      for (let each = 0; each < count; each += 1) await queue.add(each, options)
    })
    expect(tally(sent)).toEqual({ evalsha: count })
  })

  it('many that are added together are one EVALSHA each', async () => {
    await using server = await startRedis()
    using wire = await Wire.tap(server)
    await using one = await node(server.url)
    const queue = one.queues.open<number>('jobs')
    await queue.add(0)
    const items = Array.from({ length: 1_000 }, (_, payload) => ({ payload }))
    expect(tally(await wire.namesDuring(() => queue.addMany(items)))).toEqual({ evalsha: 1_000 })
  })

  it('a job of a busy worker is one EVALSHA, which settles it and takes the next one', async ({
    annotate,
  }) => {
    await using server = await startRedis()
    using wire = await Wire.tap(server)
    await using one = await node(server.url)
    const queue = one.queues.open<number>('jobs')
    // The first one loads the scripts.
    await queue.addMany(Array.from({ length: count + 1 }, (_, payload) => ({ payload })))
    let open = (): void => {}
    const gate = new Promise<void>((resolve) => (open = resolve))
    await queue.process(({ payload }) => (payload === 0 ? undefined : gate))
    await waitUntil(
      'the second one to run',
      () => one.queues.stats().completed === 1 && one.queues.stats().running === 1,
    )
    const sent = await wire.namesDuring(async () => {
      open()
      await waitUntil('all to be done', () => one.queues.stats().completed === count + 1, { everyMs: 2 })
    })
    await annotate(JSON.stringify(tally(sent)))
    // The last one may not be settled yet. Then it waits for another one, twice: the first time ends at once, by what BullMQ left when the first job was added.
    const { evalsha = 0, bzpopmin = 0, ...others } = tally(sent)
    expect(evalsha).toBeGreaterThanOrEqual(count - 1)
    expect(evalsha).toBeLessThanOrEqual(count + 2)
    expect(bzpopmin).toBeLessThanOrEqual(2)
    expect(others).toEqual({})
  })

  it('the control: a job that is taken and settled apart is two EVALSHA', async () => {
    await using server = await startRedis()
    using wire = await Wire.tap(server)
    const client = new Redis(server.url, { maxRetriesPerRequest: null })
    const queue = new BullQueue('raw', { connection: client })
    const worker = new BullWorker('raw', null, { connection: client, autorun: false })
    await worker.waitUntilReady()
    const one = async (): Promise<void> => {
      await (await worker.getNextJob('token'))?.moveToCompleted(undefined, 'token', false)
    }
    await queue.addBulk(Array.from({ length: 11 }, () => ({ name: 'job', data: {} })))
    // Loads the scripts.
    await one()
    const sent = await wire.namesDuring(async () => {
      for (let each = 0; each < 10; each += 1) await one()
    })
    expect(tally(sent)['evalsha']).toBe(20)
    await worker.close()
    await queue.close()
    client.disconnect()
  })

  it('a worker without jobs asks about once a second', async ({ annotate }) => {
    await using server = await startRedis()
    using wire = await Wire.tap(server)
    await using one = await node(server.url)
    await one.queues.open('jobs').process(() => {})
    const seconds = 5
    const sent = await wire.namesDuring(() => sleep(seconds * 1_000))
    await annotate(`${(sent.length / seconds).toFixed(1)} commands a second: ${JSON.stringify(tally(sent))}`)
    const { bzpopmin = 0 } = tally(sent)
    expect(bzpopmin).toBeGreaterThanOrEqual(2)
    expect(sent.length).toBeLessThanOrEqual(3 * (seconds + 1))
  })
})

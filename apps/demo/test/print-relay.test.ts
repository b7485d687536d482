import { createCluster } from '@multinode/core'
import { waitUntil } from '@multinode/testbed'
import { expect, onTestFinished, test } from 'vitest'
import { openDatabase } from '../src/database.ts'
import { Orders } from '../src/orders.ts'
import { PrintRelay } from '../src/print-relay.ts'
import type { PrintJob } from '../src/printer.ts'
import { dataFolder } from './support/print-shop.ts'

/** A relay that looks, and an order that got its job so long ago and was not printed. */
async function overdue(jobAgeMs: number) {
  const cluster = await createCluster({ env: {} })
  const database = openDatabase(dataFolder())
  const orders = new Orders(database)
  const queue = cluster.queue<PrintJob>('print')
  const order = { id: '1', customer: 'Ada', item: 'poster', quantity: 1, priceCents: 1 }
  orders.add({ ...order, idempotencyKey: undefined })
  orders.hasJob('1')
  database.prepare('UPDATE orders SET job_at_ms = job_at_ms - ?').run(jobAgeMs)
  const relay = new PrintRelay({ orders, queue, report: () => {} })
  onTestFinished(async () => {
    relay.stop()
    await cluster.close()
    database.close()
  })
  return { orders, queue, relay }
}

const jobsIn = async ({ queue }: Awaited<ReturnType<typeof overdue>>) => (await queue.counts()).waiting

test('an order whose job the broker has lost gets another one after ten seconds', async () => {
  const shop = await overdue(11_000)
  shop.relay.start(false)
  await waitUntil('another job', async () => (await jobsIn(shop)) === 1)
  expect(await jobsIn(shop)).toBe(1)
})

test('and none while the broker has jobs, because one of them may be its own', async () => {
  const shop = await overdue(11_000)
  await shop.queue.add({ orderId: '1' })
  // What tells that the relay has looked: an order that never had a job gets one.
  const other = { id: '2', customer: 'Ada', item: 'poster', quantity: 1, priceCents: 1 }
  shop.orders.add({ ...other, idempotencyKey: undefined })
  shop.relay.start(false)
  await waitUntil('the other order to get its job', async () => (await jobsIn(shop)) === 2)
  expect(shop.orders.withoutJob({ ownForMs: 0, againAfterMs: 10_000, limit: 9 })).toEqual(['1'])
})

test('and none before', async () => {
  const shop = await overdue(1_000)
  const other = { id: '2', customer: 'Ada', item: 'poster', quantity: 1, priceCents: 1 }
  shop.orders.add({ ...other, idempotencyKey: undefined })
  shop.relay.start(false)
  const lacking = (): string[] => shop.orders.withoutJob({ ownForMs: 0, againAfterMs: 60_000, limit: 9 })
  await waitUntil('the other order to get its job', () => lacking().length === 0)
  expect(await jobsIn(shop)).toBe(1)
})

import { rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { serversAvailable, startRedis, waitUntil } from '@multinode/testbed'
import { describe, expect, onTestFinished, test } from 'vitest'
import { dataFolder, refusal, startShop } from './support/print-shop.ts'

const pauseBeforeSale = fileURLToPath(new URL('fixtures/pause-before-sale.ts', import.meta.url))
const printsAtStart = 30

// The control, the same steps without tokens, is in stock.test.ts: there the late write is accepted, and the stock is wrong.
describe.skipIf(!serversAvailable())('the stock', () => {
  test('stays right when the holder of its lock is frozen between reading and writing, past its lease', async () => {
    const redis = await startRedis()
    onTestFinished(() => redis.stop())
    const folder = dataFolder()
    const env = { CLUSTER_ADAPTER: 'redis', REDIS_URL: redis.url, DATA_DIR: folder }
    const [frozen, ...others] = await Promise.all([
      startShop({ ...env, NODE_OPTIONS: `--import=${pauseBeforeSale}` }),
      startShop(env),
      startShop(env),
    ])
    const order = { customer: 'Ada', item: 'letterpress', quantity: 5 }
    writeFileSync(path.join(folder, 'hold'), '')
    const late = frozen.post('/orders', order, { 'idempotency-key': 'late' })
    await frozen.child.nextLine('between reading and writing')
    await frozen.child.pause()
    rmSync(path.join(folder, 'hold'))

    // Nobody sells before the lease of the frozen node has run out; then they do, although it still believes to hold the lock.
    let sold = 0
    const sellOne = async (): Promise<boolean> => {
      const replies = await Promise.all(others.map((shop) => shop.post('/orders', { ...order, quantity: 1 })))
      sold += replies.filter(({ status }) => status === 202).length
      return sold >= 6
    }
    await waitUntil('the others to sell', sellOne, { deadlineMs: 20_000 })
    frozen.child.resume()
    expect(await refusal(await late)).toMatchObject({ status: 503, code: 'STALE_TOKEN' })
    expect(await others[0].left('letterpress')).toBe(printsAtStart - sold)

    // As the answer says: place it again.
    const again = await frozen.post('/orders', order, { 'idempotency-key': 'late' })
    expect(again.status).toBe(202)
    for (const shop of [frozen, ...others]) {
      expect(await shop.left('letterpress')).toBe(printsAtStart - sold - 5)
    }
    const orders = await frozen.list('?limit=200')
    expect(orders.reduce((sum, { quantity }) => sum + quantity, 0)).toBe(sold + 5)
  }, 60_000)
})

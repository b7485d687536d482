import { once } from 'node:events'
import http from 'node:http'
import { stolenMs, waitUntil } from '@multinode/testbed'
import { expect, test } from 'vitest'
import { openDatabase } from '../src/database.ts'
import { Orders } from '../src/orders.ts'
import { heldLine, holdPrints, withPrintHold } from './support/print-hold.ts'
import { dataFolder, launchShop, refusal, startShop } from './support/print-shop.ts'

test('the start says which adapter serves what, because of what, and how to place an order', async () => {
  const shop = await startShop({ NODE_ID: 'press-1' })
  const curl = await shop.child.nextLine('  curl')
  expect(curl).toContain(`${shop.url}/orders -H 'content-type: application/json'`)
  expect(shop.child.output()).toContain('Print shop, node press-1 of cluster app\n')
  expect(shop.child.output()).toContain(
    '  lock is on memory in this process, because nothing else was said\n',
  )
})

test('GET /cluster tells what runs here', async () => {
  const shop = await startShop({ NODE_ID: 'press-1', CLEAN_UP_EVERY_MS: '86400000' })
  await shop.untilStatus(await shop.order('poster'), 'finished')
  const cluster = await (await shop.call('/cluster')).json()
  expect(cluster).toMatchObject({
    describe: {
      nodeId: 'press-1',
      capabilities: [
        { capability: 'pubsub', backend: 'memory' },
        { capability: 'queue', backend: 'memory' },
        { capability: 'lock', backend: 'memory' },
        { capability: 'cache', backend: 'memory' },
        { capability: 'workerid', backend: 'memory' },
      ],
    },
    health: { state: 'running', status: 'ok' },
    // One for the stock and one for the printing.
    stats: {
      lock: { acquired: 2, lost: 0 },
      cache: { factoryRuns: 1, misses: 1, isOpen: false },
      workerid: { acquired: 1, held: [expect.any(Number)] },
    },
    catalogueReads: 1,
    nodes: [{ nodeId: 'press-1' }],
    lastCleanUp: null,
  })
})

test('orders, stock and sheets outlive a crash, and unfinished orders are finished after it', async () => {
  const env = { DATA_DIR: dataFolder() }
  const first = await startShop({ ...env, ...withPrintHold })
  const printed = await first.order('letterpress', 2)
  await first.untilStatus(printed, 'finished')
  const letGo = holdPrints(env.DATA_DIR)
  const ids = await Promise.all(Array.from({ length: 20 }, () => first.order('letterpress')))
  await first.child.nextLine(heldLine)
  expect(await first.list('?status=finished')).toHaveLength(1)
  await first.child.kill('SIGKILL')
  letGo()

  const second = await startShop(env)
  expect(await second.left('letterpress')).toBe(8)
  for (const id of ids) {
    const { attempts } = await second.untilStatus(id, 'finished')
    // The one that the crash cut short was begun twice.
    expect(attempts).toBeLessThanOrEqual(2)
  }
  expect((await second.call(`/orders/${printed}/sheet`)).status).toBe(200)
})

test('maintenance mode: not ready, no new orders, what there is can still be read', async () => {
  const shop = await startShop()
  const id = await shop.order('poster')
  await shop.untilStatus(id, 'finished')
  expect((await shop.call('/readyz')).status).toBe(200)
  const drained = await shop.call('/admin/drain', { method: 'POST' })
  expect(await drained.json()).toEqual({ finished: true, left: {} })
  const ready = await shop.call('/readyz')
  expect(ready.status).toBe(503)
  expect(await ready.json()).toMatchObject({ ready: false, state: 'draining' })
  const refused = await shop.post('/orders', { customer: 'Ada', item: 'poster', quantity: 1 })
  expect(refused.headers.get('retry-after')).toBe('1')
  expect(await refusal(refused)).toMatchObject({ status: 503, code: 'DRAINING' })
  expect((await shop.call('/livez')).status).toBe(200)
  expect((await shop.call(`/orders/${id}/sheet`)).status).toBe(200)
})

test.for(['SIGTERM', 'SIGINT'] as const)('%s ends it by that signal, within 5 s', async (signal) => {
  const shop = await startShop()
  await shop.order('poster')
  const startedAtMs = performance.now()
  expect(await shop.child.kill(signal)).toEqual({ code: null, signal })
  expect(performance.now() - startedAtMs).toBeLessThan(5_000 + stolenMs())
})

test('SIGTERM does not wait for a connection that is kept alive, nor for ever for a slow request', async () => {
  const shop = await startShop()
  const agent = new http.Agent({ keepAlive: true })
  await waitUntil('an answer on a connection that is kept', () => ask(agent, `${shop.url}/livez`))
  const slow = http.request(`${shop.url}/orders`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'content-length': 100, expect: '100-continue' },
  })
  const cut = new Promise<Error>((resolve) => slow.once('error', resolve))
  slow.flushHeaders()
  // From here on the server waits for the body.
  await once(slow, 'continue', { signal: AbortSignal.timeout(10_000) })
  const { signal } = await shop.child.kill('SIGTERM')
  expect(signal).toBe('SIGTERM')
  expect(await cut).toMatchObject({ code: 'ECONNRESET' })
  agent.destroy()
})

test('SIGTERM finishes what is being printed; what is queued waits for the next start', async () => {
  const env = { DATA_DIR: dataFolder() }
  const first = await startShop({ ...env, ...withPrintHold })
  const letGo = holdPrints(env.DATA_DIR)
  const ids = await Promise.all(Array.from({ length: 20 }, () => first.order('flyer')))
  await first.child.nextLine(heldLine)
  first.child.signal('SIGTERM')
  // It takes no further job before it takes no further call.
  await waitUntil('the drain to begin', () =>
    first.call('/livez').then(
      () => false,
      () => true,
    ),
  )
  letGo()
  await first.child.exited
  expect(ordersIn(env.DATA_DIR)).toEqual({ queued: 19, finished: 1 })
  const second = await startShop(env)
  for (const id of ids) {
    expect(await second.untilStatus(id, 'finished')).toMatchObject({ attempts: 1 })
  }
})

test.for<[env: Record<string, string>, message: string]>([
  [{ PORT: 'abc' }, 'MISCONFIGURED: PORT=abc is no port: give a number'],
  [{ PORT: '65536' }, 'MISCONFIGURED: PORT=65536 is no port'],
  [
    { CLEAN_UP_EVERY_MS: '99' },
    'MISCONFIGURED: CLEAN_UP_EVERY_MS=99 is no such time: give whole milliseconds',
  ],
  [{ CLEAN_UP_EVERY_MS: '20s' }, 'MISCONFIGURED: CLEAN_UP_EVERY_MS=20s is no such time'],
  [{ CLEAN_UP_EVERY_MS: '86400001' }, 'MISCONFIGURED: CLEAN_UP_EVERY_MS=86400001 is no such time'],
  [{ WORKER_LEASE_MS: '5' }, 'MISCONFIGURED: WORKER_LEASE_MS=5 is no such time'],
  [
    { CACHE_PATIENCE_MS: '30001' },
    'CACHE_PATIENCE_MS=30001 is no such time: give whole milliseconds from 100 to 30000.',
  ],
  [{ FIRST_START: 'yes' }, 'MISCONFIGURED: FIRST_START=yes is neither 0 nor 1'],
  [{ WORKER_ID: 'x' }, 'WORKER_ID is "x"; it must be a whole number'],
  [{ HOST: '192.0.2.1' }, 'MISCONFIGURED: HOST=192.0.2.1 PORT=0 cannot be used: listen EADDRNOTAVAIL'],
  [{ DATA_DIR: '/dev/null/data' }, 'MISCONFIGURED: DATA_DIR=/dev/null/data cannot be used: ENOTDIR'],
  [{ CLUSTER_NAME: 'a b' }, 'MISCONFIGURED: CLUSTER_NAME=a b must match'],
  [
    { LOCK_ADAPTER: '@acme/lock-etcd' },
    'Install it with: npm install @acme/lock-etcd; or set LOCK_ADAPTER=memory',
  ],
  [{ LOCK_ADAPTER: 'rabbitmq' }, 'NOT_FOUND: LOCK_ADAPTER=rabbitmq: there is no adapter "rabbitmq" for lock'],
  [
    {
      CLUSTER_ADAPTER: 'etcd',
      PUBSUB_ADAPTER: 'memory',
      QUEUE_ADAPTER: 'memory',
      CACHE_ADAPTER: 'memory',
      WORKERID_ADAPTER: 'memory',
    },
    'CLUSTER_ADAPTER=etcd: there is no adapter "etcd" for lock',
  ],
])('%o: the start fails with one clear line', async ([env, message]) => {
  const child = await launchShop(env)
  expect(await child.exited).toEqual({ code: 1, signal: null })
  // Whatever standard error brought last may come after the exit.
  await waitUntil('the message', () => child.output().includes(message))
  expect(child.output().trimEnd().split('\n')).toHaveLength(1)
})

test('a port that is taken is named', async () => {
  const { url } = await startShop()
  const port = new URL(url).port
  const child = await launchShop({ PORT: port })
  expect(await child.exited).toEqual({ code: 1, signal: null })
  await waitUntil('the message', () =>
    child.output().includes(`PORT=${port} cannot be used: listen EADDRINUSE`),
  )
})

/** How many there are of each status, while no node runs. */
function ordersIn(folder: string): Record<string, number> {
  const database = openDatabase(folder)
  try {
    const counts: Record<string, number> = {}
    for (const { status } of new Orders(database).list(200)) counts[status] = (counts[status] ?? 0) + 1
    return counts
  } finally {
    database.close()
  }
}

/** @returns whether it was answered */
function ask(agent: http.Agent, url: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const request = http.get(url, { agent }, (response) => {
      response.resume()
      response.once('end', () => resolve(true))
    })
    request.once('error', reject)
  })
}

import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { serversAvailable, spawnNode, startRedis } from '@multinode/testbed'
import { expect, onTestFinished, test } from 'vitest'
import { CleanUpLog } from '../src/clean-up-log.ts'
import { openDatabase } from '../src/database.ts'
import { Orders } from '../src/orders.ts'
import { Stock } from '../src/stock.ts'
import { dataFolder, startShop } from './support/print-shop.ts'

/** As the first release of the shop left it, with one order taken. */
const versionOne = `
  CREATE TABLE stock (
    item TEXT PRIMARY KEY,
    quantity INTEGER NOT NULL CHECK (quantity >= 0),
    token INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE TABLE orders (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    idempotency_key TEXT UNIQUE,
    customer TEXT NOT NULL,
    item TEXT NOT NULL REFERENCES stock (item),
    quantity INTEGER NOT NULL,
    placed_at_ms INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'queued',
    node TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    print_token INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE INDEX orders_by_status ON orders (status, number);
  INSERT INTO stock (item, quantity, token) VALUES ('poster', 1997, 7);
  INSERT INTO orders (id, customer, item, quantity, placed_at_ms) VALUES ('a', 'Ada', 'poster', 3, 1767225600000);
  PRAGMA user_version = 1;
`

function folderWith(sql: string): string {
  const folder = dataFolder()
  const database = new DatabaseSync(path.join(folder, 'shop.sqlite'))
  database.exec(sql)
  database.close()
  return folder
}

test('a file of version 1 is brought up to date once, and keeps its records', () => {
  const folder = folderWith(versionOne)
  for (const database of [openDatabase(folder), openDatabase(folder)]) {
    onTestFinished(() => database.close())
    expect(new Orders(database).find('a')).toMatchObject({ item: 'poster', quantity: 3 })
    expect(new Stock(database).list()).toEqual([{ item: 'poster', quantity: 1_997 }])
    expect(() => new Stock(database).read('poster', 6)).toThrow('refused the fencing token 6')
  }
})

test('in a file that was brought up to date clean-ups are written down as in a new one', () => {
  for (const folder of [folderWith(versionOne), dataFolder()]) {
    const database = openDatabase(folder)
    onTestFinished(() => database.close())
    const log = new CleanUpLog(database)
    expect(log.last()).toBeUndefined()
    const entry = { scheduledAt: new Date(20_000), node: 'press-1', token: 2, removed: 1 }
    log.add(entry)
    log.add({ ...entry, scheduledAt: new Date(0), token: 1 })
    expect(log.last()).toEqual(entry)
  }
})

// With locks on memory each would print what the other one is printing.
test.skipIf(!serversAvailable())(
  'two nodes that start at once on a file of version 1 both start, and print the order in it',
  async () => {
    const redis = await startRedis()
    onTestFinished(() => redis.stop())
    const env = { DATA_DIR: folderWith(versionOne), CLUSTER_ADAPTER: 'redis', REDIS_URL: redis.url }
    const shops = await Promise.all([startShop(env), startShop(env)])
    for (const shop of shops) {
      expect(await shop.untilStatus('a', 'finished')).toMatchObject({ customer: 'Ada', item: 'poster' })
    }
  },
)

test('a new file that another process writes to for the first time is waited for', async () => {
  const folder = dataFolder()
  const other = await spawnNode(new URL('fixtures/hold-new-file.ts', import.meta.url), {
    env: { DATA_DIR: folder },
  })
  onTestFinished(async () => void (await other.kill()))
  await other.nextLine('held')
  const bare = new DatabaseSync(path.join(folder, 'shop.sqlite'), { timeout: 2_000 })
  onTestFinished(() => bare.close())
  expect(() => bare.exec('PRAGMA journal_mode = WAL')).toThrow('database is locked')
  other.send('go')
  const database = openDatabase(folder)
  onTestFinished(() => database.close())
  expect(new Stock(database).list()).toHaveLength(4)
})

test('a file of a later version is refused and left as it is', () => {
  const folder = folderWith('PRAGMA user_version = 6')
  expect(() => openDatabase(folder)).toThrow('shop.sqlite has version 6, this program knows 5')
  expect(() => openDatabase(folder)).toThrow('shop.sqlite has version 6, this program knows 5')
})

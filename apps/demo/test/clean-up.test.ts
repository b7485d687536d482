import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, renameSync, utimesSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { serversAvailable, startRedis, waitUntil } from '@multinode/testbed'
import { describe, expect, onTestFinished, test } from 'vitest'
import { pauseOutsideWrites } from './support/pause-outside-writes.ts'
import { dataFolder, readJson, startShop } from './support/print-shop.ts'

const everyMs = 300
const nodes = ['press-1', 'press-2', 'press-3']

interface Turn {
  readonly scheduledAtMs: number
  readonly node: string
  readonly token: number
  readonly removed: number
}

describe.skipIf(!serversAvailable())('the clean-up of three nodes', () => {
  test('runs exactly once at every turn, also while one of them is frozen', async () => {
    const redis = await startRedis()
    onTestFinished(() => redis.stop())
    const folder = dataFolder()
    const env = { ...onTurns(folder), CLUSTER_ADAPTER: 'redis', REDIS_URL: redis.url }
    const shops = await Promise.all(nodes.map((node) => startShop({ ...env, NODE_ID: node })))
    // A node that comes may have its first turn while a late one has not yet asked for the turn before, which is then nobody's.
    const turns = turnsIn(folder, Date.now() + everyMs)
    await waitUntil('15 turns', () => turns().length >= 15)
    expectEachOnce(turns())

    const frozen = turns().at(-1)?.node ?? ''
    const child = shops[nodes.indexOf(frozen)]?.child
    assert(child, `${frozen} is none of ours`)
    await pauseOutsideWrites(child, folder)
    const before = turns()
    // 5 s for a turn that it may have been in the middle of.
    await waitUntil('turns of the others', () => turns().length >= before.length + 10, { deadlineMs: 20_000 })
    const meanwhile = turns().slice(before.length)
    expect(meanwhile.map(({ node }) => node)).not.toContain(frozen)
    const resumedAtMs = Date.now()
    child.resume()
    await waitUntil(
      'turns after that',
      () => (turns().at(-1)?.scheduledAtMs ?? 0) > resumedAtMs + 5 * everyMs,
    )
    // One that it was in the middle of was given up.
    expectEachOnce(turns(), 1)
    expect(new Set(turns().map(({ node }) => node)).size).toBeGreaterThan(1)
  }, 120_000)

  test('is not stopped by an outage of the server, which every node reports once', async () => {
    const redis = await startRedis({ aof: true })
    onTestFinished(() => redis.stop())
    const folder = dataFolder()
    const env = { ...onTurns(folder), CLUSTER_ADAPTER: 'redis', REDIS_URL: redis.url }
    const shop = await startShop(env)
    const turns = turnsIn(folder)
    await waitUntil('a turn', () => turns().length > 0)
    await redis.kill()
    await waitUntil('a report', () => shop.child.output().includes('The clean-up failed: '))
    const downMs = Date.now()
    await waitUntil('more turns to be due', () => Date.now() > downMs + 5 * everyMs)
    expect(shop.child.output().match(/The clean-up failed: /g)).toHaveLength(1)
    await redis.restart()
    const upMs = Date.now()
    await waitUntil('turns after that', () => (turns().at(-1)?.scheduledAtMs ?? 0) > upMs, {
      deadlineMs: 20_000,
    })
    // What was due meanwhile is made up for, except a turn whose claim was on its way to the dying server.
    expectEachOnce(turns(), 1)
  }, 60_000)
})

test('on memory one node has every turn, removes half-written files that nobody finishes any more, and no others', async () => {
  const folder = dataFolder()
  const sheets = path.join(folder, 'sheets')
  mkdirSync(sheets)
  for (const name of ['a.png', 'a.png.1.tmp', 'a.png.2.tmp']) writeFileSync(path.join(sheets, name), '')
  utimesSync(path.join(sheets, 'a.png'), 0, 0)
  utimesSync(path.join(sheets, 'a.png.1.tmp'), 0, 0)
  const shop = await startShop({ ...onTurns(folder), NODE_ID: 'press-1' })
  const turns = turnsIn(folder)
  await waitUntil('5 turns', () => turns().length >= 5)
  expectEachOnce(turns())
  expect(turns()[0]).toMatchObject({ node: 'press-1', removed: 1 })
  expect(turns()[1]).toMatchObject({ node: 'press-1', removed: 0 })
  expect(readdirSync(sheets).toSorted()).toEqual(['a.png', 'a.png.2.tmp'])

  const { lastCleanUp } = await readJson<{ lastCleanUp: object }>(await shop.call('/cluster'))
  expect(lastCleanUp).toEqual({
    scheduledAt: expect.stringMatching(/^\d{4}-.*Z$/),
    node: 'press-1',
    token: expect.any(Number),
    removed: 0,
  })
})

test('a clean-up that fails is reported once, and the next one that works goes on', async () => {
  const folder = dataFolder()
  const shop = await startShop(onTurns(folder))
  const turns = turnsIn(folder)
  await waitUntil('a turn', () => turns().length > 0)
  renameSync(path.join(folder, 'sheets'), path.join(folder, 'away'))
  await waitUntil('a report', () => shop.child.output().includes('The clean-up failed: ENOENT'))
  const failedMs = Date.now()
  await waitUntil('more failures', () => Date.now() > failedMs + 4 * everyMs)
  renameSync(path.join(folder, 'away'), path.join(folder, 'sheets'))
  const workingMs = Date.now()
  await waitUntil('turns after that', () => (turns().at(-1)?.scheduledAtMs ?? 0) > workingMs)
  expect(shop.child.output().match(/The clean-up failed: /g)).toHaveLength(1)
})

test('maintenance mode ends the turns of a node', async () => {
  const folder = dataFolder()
  const shop = await startShop(onTurns(folder))
  const turns = turnsIn(folder)
  await waitUntil('a turn', () => turns().length > 0)
  const drained = await shop.call('/admin/drain', { method: 'POST' })
  expect(await drained.json()).toEqual({ finished: true, left: {} })
  const drainedMs = Date.now()
  await waitUntil('more turns to be due', () => Date.now() > drainedMs + 4 * everyMs)
  expect(turns().filter(({ scheduledAtMs }) => scheduledAtMs > drainedMs)).toEqual([])
})

function onTurns(folder: string): Record<string, string> {
  return { DATA_DIR: folder, CLEAN_UP_EVERY_MS: String(everyMs) }
}

/** Reads what the nodes wrote down of turns after `sinceMs`, in the order in which they were given. */
function turnsIn(folder: string, sinceMs = 0): () => Turn[] {
  const database = new DatabaseSync(path.join(folder, 'shop.sqlite'), { timeout: 5_000 })
  onTestFinished(() => database.close())
  const query = database.prepare('SELECT * FROM clean_ups WHERE scheduled_at_ms > ? ORDER BY token')
  return () =>
    query.all(sinceMs).map((row) => ({
      scheduledAtMs: Number(row['scheduled_at_ms']),
      node: String(row['node']),
      token: Number(row['token']),
      removed: Number(row['removed']),
    }))
}

/** None twice, and none missing between the first and the last but so many. */
function expectEachOnce(turns: readonly Turn[], mayMiss = 0): void {
  const times = turns.map(({ scheduledAtMs }) => scheduledAtMs)
  expect(new Set(times).size).toBe(times.length)
  expect(times).toEqual(times.toSorted((a, b) => a - b))
  const due = ((times.at(-1) ?? 0) - (times[0] ?? 0)) / everyMs + 1
  expect(due - times.length).toBeGreaterThanOrEqual(0)
  expect(due - times.length).toBeLessThanOrEqual(mayMiss)
}

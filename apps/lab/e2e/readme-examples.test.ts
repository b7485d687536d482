import { globSync } from 'node:fs'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createCluster } from '@multinode/core'
import {
  type RabbitmqServer,
  type RedisServer,
  serversAvailable,
  startRabbitmq,
  startRedis,
} from '@multinode/testbed'
import { redisWorkerIds } from '@multinode/workerid-redis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { markdownBlocks } from '../support/markdown-blocks.ts'
import { tryRun } from '../support/run.ts'

const workspace = fileURLToPath(new URL('../../..', import.meta.url))
// Not under node_modules, where Node does not strip types, and inside the lab, so that packages resolve.
const folder = fileURLToPath(new URL('../.examples', import.meta.url))
const pages = globSync(['README.md', 'packages/*/README.md', 'docs/*.md'], { cwd: workspace }).sort()
const written = { redis: 'redis://localhost:6379/0', rabbitmq: 'amqp://guest:guest@localhost:5672' }

type Example = { page: string; number: number; code: string }

async function examplesOf(page: string): Promise<Example[]> {
  const blocks = markdownBlocks(await readFile(join(workspace, page), 'utf8'))
  const runnable = blocks.filter(({ language, info }) => language === 'ts' && info === 'run')
  return runnable.map(({ text }, index) => ({ page, number: index + 1, code: text }))
}

const examples = (await Promise.all(pages.map(examplesOf))).flat()

describe.skipIf(!serversAvailable())('examples in the documentation', () => {
  let redis: RedisServer
  let rabbitmq: RabbitmqServer

  beforeAll(async () => {
    ;[redis, rabbitmq] = await Promise.all([startRedis({ aof: true }), startRabbitmq()])
    await Promise.all(['examples', 'shop'].map(startFirst))
    await mkdir(folder, { recursive: true })
  })

  /** As on a server that was in use before: worker ids are given at once. */
  async function startFirst(name: string): Promise<void> {
    const plugins = [redisWorkerIds({ url: redis.url })]
    await using cluster = await createCluster({ name, env: {}, capabilities: ['workerid'], plugins })
    await cluster.workerIds.acquire({ isFirstStart: true })
  }

  afterAll(async () => {
    await Promise.all([redis?.stop(), rabbitmq?.stop()])
    await rm(folder, { recursive: true, force: true })
  })

  /** As an operator would set it for the adapter of that page. */
  function envOf(page: string): Record<string, string> {
    if (page.includes('-redis')) return { CLUSTER_ADAPTER: 'redis', REDIS_URL: redis.url }
    if (!page.includes('-rabbitmq')) return {}
    return { PUBSUB_ADAPTER: 'rabbitmq', QUEUE_ADAPTER: 'rabbitmq', RABBITMQ_URL: rabbitmq.url }
  }

  test('there are some', () => {
    expect(examples.map(({ page }) => page)).toEqual(
      expect.arrayContaining(['README.md', 'packages/core/README.md', 'packages/lock-redis/README.md']),
    )
  })

  test.each(examples)('example $number of $page runs as it is written', async ({ page, number, code }) => {
    const file = join(folder, `${page.replaceAll(/\W/g, '-')}-${number}.ts`)
    await writeFile(
      file,
      code.replaceAll(written.redis, redis.url).replaceAll(written.rabbitmq, rabbitmq.url),
    )
    const NODE_COMPILE_CACHE = join(folder, 'compiled')
    const env = {
      PATH: process.env['PATH'],
      NODE_COMPILE_CACHE,
      CLUSTER_NAME: 'examples',
      ...envOf(page),
    }
    const outcome = await tryRun(process.execPath, [file], { cwd: workspace, env, deadlineMs: 20_000 })
    expect(outcome).toMatchObject({ exitCode: 0, stderr: '' })
    expect(outcome.stdout).not.toBe('')
  })
})

import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  type RedisServer,
  serversAvailable,
  startRedis,
  type TemporaryFolder,
  temporaryFolder,
} from '@multinode/testbed'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bareEnvironment } from '../support/bare-environment.ts'
import { scope, startLocalRegistry, type LocalRegistry } from '../support/local-registry.ts'
import { publishWorkspace, type Release } from '../support/publish-workspace.ts'
import { run, tryRun } from '../support/run.ts'

const workspace = fileURLToPath(new URL('../../..', import.meta.url))
const hosts = fileURLToPath(new URL('hosts', import.meta.url))

let folder: TemporaryFolder
let registry: LocalRegistry
let release: Release
let redis: RedisServer
let env: NodeJS.ProcessEnv
/** Host apps: with core and lock-redis, with core alone, with what it takes to make ids on many nodes. */
let redisHost: string
let memoryHost: string
let idsHost: string

describe.skipIf(!serversAvailable())('a release', () => {
  beforeAll(async () => {
    folder = temporaryFolder('hosts')
    registry = await startLocalRegistry()
    env = bareEnvironment(await emptyFolder('home'), await registry.npmrc(folder.path))
    redis = await startRedis()
    release = await publishWorkspace(workspace, registry)
    redisHost = await hostWith('redis-host', [`${scope}/core`, `${scope}/lock-redis`])
    memoryHost = await hostWith('memory-host', [`${scope}/core`])
    const forIds = ['core', 'workerid-redis', 'snowflake-id'].map((name) => `${scope}/${name}`)
    idsHost = await hostWith('ids-host', forIds)
  }, 360_000)

  afterAll(async () => {
    release?.remove()
    await redis?.stop()
    await registry?.stop()
    folder?.remove()
  })

  test('every public package is published, at its new version', () => {
    const published = Object.entries(registry.packages()).map(([name, versions]) => [
      name,
      Object.keys(versions),
    ])
    const released = Object.entries(release.versions).map(([name, version]) => [name, [version]])
    expect(Object.fromEntries(published)).toEqual(Object.fromEntries(released))
    expect(Object.keys(release.versions)).toContain(`${scope}/lock-redis`)
  })

  test('published manifests have no workspace protocol and no catalog, and export dist', () => {
    const manifests = Object.values(registry.packages()).flatMap((versions) => Object.values(versions))
    expect(JSON.stringify(manifests)).not.toMatch(/"(workspace|catalog):/)
    for (const target of manifests.flatMap(({ exports }) => targetsOf(exports))) {
      expect(target).toMatch(/^\.\/(dist\/|package\.json$)/)
    }
  })

  test('a second publish finds nothing left to publish', async () => {
    const before = registry.packages()
    expect(await release.publishAgain()).toContain('No unpublished projects to publish')
    expect(registry.packages()).toEqual(before)
  })

  test('core and one adapter bring only what that adapter needs', async () => {
    expect(await readdir(join(redisHost, 'node_modules', scope))).toEqual([
      'connection-redis',
      'core',
      'lock-redis',
    ])
    const { packages } = await readJson(join(redisHost, 'package-lock.json'))
    const unneeded = /node_modules\/(bullmq|amqplib|vitest|typescript|@types\/node)$/
    expect(Object.keys(packages).filter((path) => unneeded.test(path))).toEqual([])
  })

  test('core alone brings no client of any backend', async () => {
    expect(await readdir(join(memoryHost, 'node_modules', scope))).toEqual(['core'])
    expect(await readdir(join(memoryHost, 'node_modules'))).not.toContain('ioredis')
  })

  test.each(['core', 'connection-redis', 'lock-redis'])('all that %s exports is installed', async (name) => {
    const installed = join(redisHost, 'node_modules', scope, name)
    const { exports } = await readJson(join(installed, 'package.json'))
    const present = (await readdir(installed, { recursive: true })).map((file) => `./${file}`)
    expect(targetsOf(exports)).toContain('./dist/index.js')
    expect(present).toEqual(expect.arrayContaining(targetsOf(exports)))
  })

  test.each(['esm.mjs', 'commonjs.cjs'])('%s runs a lock on Redis', async (program) => {
    const variables = { LOCK_ADAPTER: 'redis', LOCK_ADAPTER_REDIS_URL: redis.url, CLUSTER_NAME: program }
    await redis.flush()
    const { node, token } = JSON.parse(
      await run(process.execPath, [program], hostOptions(redisHost, variables)),
    )
    expect(node).toBe(process.version)
    expect(token).toBeGreaterThan(0)
    // The fencing token outlives the lock; on memory, Redis would be empty.
    expect(await redis.cli('DBSIZE')).toBeGreaterThan(0)
  })

  test('worker ids use REDIS_URL as soon as their adapter is installed, and ids are made of them', async () => {
    const variables = { REDIS_URL: redis.url, CLUSTER_NAME: 'ids', WORKER_ID: '7' }
    const output = await run(process.execPath, ['ids.mjs'], hostOptions(idsHost, variables))
    expect(JSON.parse(output)).toMatchObject({ backend: 'redis', worker: 7, decoded: { workerId: 7 } })
  })

  test('the package for ids brings nothing with it', async () => {
    const { dependencies } = await readJson(
      join(idsHost, 'node_modules', scope, 'snowflake-id', 'package.json'),
    )
    expect(dependencies).toBeUndefined()
  })

  test.each(['esm.mjs', 'commonjs.cjs'])('%s runs a lock on memory with core alone', async (program) => {
    const { node, token } = JSON.parse(await run(process.execPath, [program], hostOptions(memoryHost, {})))
    expect(node).toBe(process.version)
    expect(token).toBeGreaterThan(0)
  })

  test('a named adapter that is not installed stops the host and says what to install', async () => {
    const variables = { LOCK_ADAPTER: 'redis', LOCK_ADAPTER_REDIS_URL: redis.url }
    const outcome = await tryRun(process.execPath, ['esm.mjs'], hostOptions(memoryHost, variables))
    expect(outcome.stderr).toContain(`npm install ${scope}/lock-redis`)
    expect(outcome.exitCode).toBe(1)
    expect(outcome.stdout).toBe('')
  })

  test('a TypeScript host is checked against the published types, under nodenext', async () => {
    // The compiler and the types of Node are ours; everything else is what the host has installed.
    const installed = join(workspace, 'node_modules')
    const module = ['--module', 'nodenext', '--target', 'es2023', '--lib', 'es2023,esnext.disposable']
    const types = ['--types', 'node', '--typeRoots', join(installed, '@types')]
    const checks = ['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--skipLibCheck', 'false']
    const tsc = [join(installed, 'typescript', 'bin', 'tsc'), ...module, ...types, ...checks]
    await run(process.execPath, [...tsc, 'typescript.ts'], hostOptions(redisHost, {}))

    // The control: a wrong use that no comment expects is an error.
    const program = await readFile(join(redisHost, 'typescript.ts'), 'utf8')
    await writeFile(join(redisHost, 'wrong.ts'), program.replaceAll('// @ts-expect-error', '//'))
    const wrong = await tryRun(process.execPath, [...tsc, 'wrong.ts'], hostOptions(redisHost, {}))
    expect(wrong.stdout.match(/wrong\.ts.*error TS/g)).toHaveLength(2)
  })
})

async function emptyFolder(name: string): Promise<string> {
  const path = join(folder.path, name)
  await mkdir(path)
  return path
}

/** A host as its author would set it up: an empty folder, one `npm install`, then the programs. */
async function hostWith(name: string, packages: string[]): Promise<string> {
  const host = await emptyFolder(name)
  await writeFile(join(host, 'package.json'), JSON.stringify({ name, private: true, type: 'module' }))
  await run('npm', ['install', ...packages], { cwd: host, env, deadlineMs: 120_000 })
  await cp(hosts, host, { recursive: true })
  return host
}

function hostOptions(host: string, variables: NodeJS.ProcessEnv): { cwd: string; env: NodeJS.ProcessEnv } {
  return { cwd: host, env: { ...env, ...variables } }
}

/** The files that a manifest's `exports` name, whatever the conditions. */
function targetsOf(exports: unknown): string[] {
  return typeof exports === 'string' ? [exports] : Object.values(exports ?? {}).flatMap(targetsOf)
}

async function readJson(file: string) {
  return JSON.parse(await readFile(file, 'utf8'))
}

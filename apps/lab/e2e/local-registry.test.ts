import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type TemporaryFolder, temporaryFolder } from '@multinode/testbed'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { bareEnvironment } from '../support/bare-environment.ts'
import { scope, startLocalRegistry, type LocalRegistry } from '../support/local-registry.ts'
import { pnpmFolder, withTools } from '../support/pnpm-folder.ts'
import { run, tryRun } from '../support/run.ts'

let folder: TemporaryFolder
let registry: LocalRegistry
let env: NodeJS.ProcessEnv
let packageNumber = 0
let source: string
let name: string

beforeAll(async () => {
  folder = temporaryFolder('registry')
  registry = await startLocalRegistry()
  env = bareEnvironment(folder.path, await registry.npmrc(folder.path))
})
afterAll(async () => {
  await registry?.stop()
  folder?.remove()
})
beforeEach(async () => {
  packageNumber += 1
  name = `${scope}/sample-${packageNumber}`
  source = await makePackage('package', { name, version: '1.0.0' })
})

test('npm installs what npm published', async () => {
  await run('npm', ['publish'], { cwd: source, env })
  const host = await makePackage('host', { private: true })
  await run('npm', ['install', name], { cwd: host, env })
  expect(await installedVersion(host)).toBe('1.0.0')
})

test('pnpm installs what pnpm published', async () => {
  const pnpmEnv = withTools(await pnpmFolder(fileURLToPath(new URL('../../..', import.meta.url))), env)
  await run('pnpm', ['publish', '--no-git-checks'], { cwd: source, env: pnpmEnv })
  const host = await makePackage('host', { private: true })
  await run('pnpm', ['add', name], { cwd: host, env: pnpmEnv })
  expect(await installedVersion(host)).toBe('1.0.0')
})

test('a later version becomes the latest and the earlier one stays', async () => {
  await run('npm', ['publish'], { cwd: source, env })
  await writeManifest(source, { name, version: '1.1.0' })
  await run('npm', ['publish'], { cwd: source, env })
  expect(Object.keys(registry.packages()[name] ?? {})).toEqual(['1.0.0', '1.1.0'])
  const view = ['view', name, 'dist-tags.latest', `--cache=${join(folder.path, 'fresh-cache')}`]
  expect((await run('npm', view, { cwd: folder.path, env })).trim()).toBe('1.1.0')
})

test('a version is published once', async () => {
  await run('npm', ['publish'], { cwd: source, env })
  const again = await tryRun('npm', ['publish', '--tag=again'], { cwd: source, env })
  expect(again.exitCode).not.toBe(0)
  expect(again.stderr).toContain('previously published')
  const response = await fetch(registry.url + encodeURIComponent(name), {
    method: 'PUT',
    body: JSON.stringify({ name, 'dist-tags': {}, versions: { '1.0.0': {} }, _attachments: {} }),
  })
  expect(response.status).toBe(409)
})

test('a package outside our scope can neither be published nor fetched', async () => {
  const foreign = await makePackage('foreign', { name: 'multinode-foreign-sample', version: '1.0.0' })
  const published = await tryRun('npm', ['publish', `--registry=${registry.url}`], { cwd: foreign, env })
  expect(published.exitCode).not.toBe(0)
  expect((await fetch(`${registry.url}ioredis`)).status).toBe(404)
  expect((await fetch(`${registry.url}-/v1/search?text=x`)).status).toBe(404)
})

test('nothing that is not a publication is taken', async () => {
  const url = registry.url + encodeURIComponent(name)
  expect((await fetch(url, { method: 'PUT', body: 'not json' })).status).toBe(400)
  const noTarball = JSON.stringify({ name, 'dist-tags': {}, versions: { '1.0.0': {} }, _attachments: {} })
  expect((await fetch(url, { method: 'PUT', body: noTarball })).status).toBe(400)
  expect(registry.packages()[name]).toBeUndefined()
})

/** Makes a folder with a manifest, and one file to publish. */
async function makePackage(kind: string, manifest: object): Promise<string> {
  const path = join(folder.path, `${kind}-${packageNumber}`)
  await mkdir(path)
  await writeManifest(path, manifest)
  await writeFile(join(path, 'index.js'), '')
  return path
}

async function writeManifest(path: string, manifest: object): Promise<void> {
  await writeFile(join(path, 'package.json'), JSON.stringify(manifest))
}

async function installedVersion(host: string): Promise<unknown> {
  return JSON.parse(await readFile(join(host, 'node_modules', name, 'package.json'), 'utf8')).version
}

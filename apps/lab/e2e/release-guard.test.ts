import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type TemporaryFolder, temporaryFolder } from '@multinode/testbed'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { scope, startLocalRegistry, type LocalRegistry } from '../support/local-registry.ts'
import { pnpmFolder, withTools } from '../support/pnpm-folder.ts'
import { assertStaysLocal, type PublishingPlace } from '../support/release-guard.ts'
import { run, tryRun } from '../support/run.ts'
import { sealedEnvironment } from '../support/sealed-environment.ts'

// A name that is reserved, so that no mistake in these tests can find a registry there.
const elsewhere = 'https://elsewhere.invalid/'

let registry: LocalRegistry
let pnpm: string
let folder: TemporaryFolder
let place: PublishingPlace & { packages: [string] }

beforeAll(async () => {
  registry = await startLocalRegistry()
  pnpm = await pnpmFolder(fileURLToPath(new URL('../../..', import.meta.url)))
})
afterAll(() => registry?.stop())

beforeEach(async () => {
  folder = temporaryFolder('guard')
  const root = join(folder.path, 'workspace')
  const sample = join(root, 'packages', 'sample')
  await mkdir(sample, { recursive: true })
  await writeFile(join(root, 'package.json'), '{ "private": true }')
  await writeFile(join(root, 'pnpm-workspace.yaml'), 'packages: [packages/*]\n')
  await writeManifest(sample, {})
  place = { root, packages: [sample], env: withTools(pnpm, await sealedEnvironment(folder.path, registry)) }
})
afterEach(() => folder?.remove())

test('the sealed environment of a plain workspace stays local', async () => {
  await expect(assertStaysLocal(place)).resolves.toBeUndefined()
})

test('without the private user config nothing is published', async () => {
  const { NPM_CONFIG_USERCONFIG: _, ...env } = place.env
  await expect(assertStaysLocal({ ...place, env })).rejects.toThrow(`${scope}:registry = undefined`)
})

test('a user config that sends our scope elsewhere is refused', async () => {
  await writeFile(join(folder.path, 'npmrc'), `${scope}:registry=${elsewhere}\n`)
  await expect(assertStaysLocal(place)).rejects.toThrow(`${scope}:registry = ${elsewhere}`)
})

test('a default registry that is elsewhere is refused', async () => {
  const env = { ...place.env, npm_config_registry: elsewhere }
  await expect(assertStaysLocal({ ...place, env })).rejects.toThrow(`npm has registry = ${elsewhere}`)
})

test('an .npmrc of the project wins over the environment, and is refused', async () => {
  await writeFile(join(place.root, '.npmrc'), `${scope}:registry=${elsewhere}\n`)
  await expect(assertStaysLocal(place)).rejects.toThrow(`${scope}:registry = ${elsewhere}`)
})

test('a registry that only pnpm knows is refused', async () => {
  const settings = `packages: [packages/*]\nregistries:\n  '${scope}': ${elsewhere}\n`
  await writeFile(join(place.root, 'pnpm-workspace.yaml'), settings)
  await expect(assertStaysLocal(place)).rejects.toThrow(`pnpm has ${scope}:registry = ${elsewhere}`)
})

test.each([{ registry: elsewhere }, { [`${scope}:registry`]: elsewhere }])(
  'a package that sets %j for publishing is refused',
  async (publishConfig) => {
    await writeManifest(place.packages[0], publishConfig)
    await expect(assertStaysLocal(place)).rejects.toThrow('publishConfig')
  },
)

test('an .npmrc of a package is refused', async () => {
  await writeFile(join(place.packages[0], '.npmrc'), '')
  await expect(assertStaysLocal(place)).rejects.toThrow('has an .npmrc')
})

test.each(['npm', 'pnpm'])('even without the guard, %s reaches no other registry', async (tool) => {
  const [sample] = place.packages
  const publish = ['publish', ...(tool === 'pnpm' ? ['--no-git-checks'] : [])]
  const name = `${scope}/sample-of-${tool}`
  await writeManifest(sample, {}, name)
  // The control: so far the same command does publish.
  await run(tool, publish, { cwd: sample, env: place.env })
  expect(Object.keys(registry.packages())).toContain(name)

  const wrong = `${scope}:registry=http://elsewhere.invalid/\n//elsewhere.invalid/:_authToken=stolen\n`
  await writeFile(join(folder.path, 'npmrc'), wrong)
  const outcome = await tryRun(tool, publish, { cwd: sample, env: place.env })
  // "404" is what the local registry answers as a proxy: without one, this name would not even resolve.
  expect(outcome.stderr).toContain('404')
  expect(outcome.exitCode).not.toBe(0)
})

function writeManifest(folder: string, publishConfig: object, name = `${scope}/sample`): Promise<void> {
  return writeFile(join(folder, 'package.json'), JSON.stringify({ name, version: '1.0.0', publishConfig }))
}

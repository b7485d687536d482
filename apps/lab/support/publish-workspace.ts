/**
 * Rehearses a release: takes a copy of the workspace as it is now, uncommitted changes included, raises every
 * public package by one minor version, and publishes them to a local registry with the very commands of a
 * real release. The checkout it copies from is only read.
 */
import { existsSync } from 'node:fs'
import { cp, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { temporaryFolder } from '@multinode/testbed'
import type { LocalRegistry } from './local-registry.ts'
import { machineEnvironment } from './machine-environment.ts'
import { pnpmFolder, withTools } from './pnpm-folder.ts'
import { assertStaysLocal } from './release-guard.ts'
import { run } from './run.ts'
import { sealedEnvironment } from './sealed-environment.ts'

export type Release = {
  /** Name and version of each package that the release set out to publish. */
  versions: Record<string, string>
  /** Publishes once more, as a repeated CI job would, and returns what the command said. */
  publishAgain(): Promise<string>
  /** Removes the copy. */
  remove(): void
}

type PublicPackage = { folder: string; name: string; version: string }

export async function publishWorkspace(workspace: string, registry: LocalRegistry): Promise<Release> {
  const temporary = temporaryFolder('release')
  const remove = () => temporary.remove()
  try {
    const root = join(temporary.path, 'workspace')
    const pnpm = await pnpmFolder(workspace)
    // An install only reads, from where this machine always reads; all that could write elsewhere is sealed.
    const ordinary = { cwd: root, env: withTools(pnpm, machineEnvironment()) }
    const sealed = { cwd: root, env: withTools(pnpm, await sealedEnvironment(temporary.path, registry)) }

    await copyWorkspace(workspace, root)
    await makeRepository(sealed)
    await run('pnpm', ['install', '--frozen-lockfile', '--prefer-offline'], {
      ...ordinary,
      deadlineMs: 180_000,
    })

    const before = await publicPackages(root)
    await writeFile(join(root, '.changeset', 'release-rehearsal.md'), minorChangeset(before))
    await run('pnpm', ['exec', 'changeset', 'version'], sealed)
    // changeset leaves the lockfile alone: it must still fit the new versions.
    await run('pnpm', ['install', '--frozen-lockfile', '--prefer-offline'], ordinary)

    // Publishing builds too, but does not say what the compiler found.
    await run('pnpm', ['--recursive', 'run', 'build'], { ...sealed, deadlineMs: 180_000 })
    const publish = async () => {
      await assertStaysLocal({ root, packages: before.map(({ folder }) => folder), env: sealed.env })
      return run('pnpm', ['exec', 'changeset', 'publish'], { ...sealed, deadlineMs: 120_000 })
    }
    await publish()
    const released = (await publicPackages(root)).map(({ name, version }) => [name, version])
    return { versions: Object.fromEntries(released), publishAgain: publish, remove }
  } catch (error) {
    remove()
    throw error
  }
}

/** Copies what a commit of everything would contain: tracked and new files, nothing that git ignores. */
async function copyWorkspace(workspace: string, root: string): Promise<void> {
  const list = ['ls-files', '-z', '--cached', '--others', '--exclude-standard']
  const files = (await run('git', list, { cwd: workspace, env: process.env })).split('\0').filter(Boolean)
  // git also lists what was deleted but not yet committed.
  const present = files.filter((file) => existsSync(join(workspace, file)))
  await Promise.all(present.map((file) => cp(join(workspace, file), join(root, file))))
}

/** changeset tags what it publishes, so it needs a commit to tag. */
async function makeRepository(sealed: { cwd: string; env: NodeJS.ProcessEnv }): Promise<void> {
  await run('git', ['init', '--quiet', '--initial-branch=main'], sealed)
  await run('git', ['add', '--all'], sealed)
  await run('git', ['commit', '--quiet', '--message=Release rehearsal'], sealed)
}

async function publicPackages(root: string): Promise<PublicPackage[]> {
  const folders = (await readdir(join(root, 'packages'))).map((name) => join(root, 'packages', name))
  const packages = await Promise.all(
    folders.map(async (folder) => ({
      folder,
      ...JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')),
    })),
  )
  return packages.filter((manifest) => manifest.private !== true)
}

function minorChangeset(packages: PublicPackage[]): string {
  const bumps = packages.map(({ name }) => `'${name}': minor`)
  return ['---', ...bumps, '---', '', 'Release rehearsal.', ''].join('\n')
}

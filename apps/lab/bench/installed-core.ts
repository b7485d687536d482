/**
 * core as a user gets it: compiled, its published exports, in a `node_modules` of its own, used by fresh processes.
 * Importing it from here would measure type stripping and the cache of this process.
 */
import { cp, mkdir, readFile, realpath, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { temporaryFolder } from '@multinode/testbed'
import { run } from '../support/run.ts'

const workspace = fileURLToPath(new URL('../../..', import.meta.url))
const core = join(workspace, 'packages/core')

export interface InstalledCore {
  /** Runs the text of a module in a fresh process, with these flags of Node, and returns its constant `figure`. */
  measure(program: string, flags?: readonly string[]): Promise<number>
}

export async function installCore(resources: AsyncDisposableStack): Promise<InstalledCore> {
  const folder = temporaryFolder('bench')
  resources.defer(folder.remove)
  const modules = join(folder.path, 'node_modules')
  await buildCore(join(modules, '@multinode/core'))
  await copyDependencies(modules)
  return { measure: (program, flags = []) => measureIn(folder.path, program, flags) }
}

async function buildCore(target: string): Promise<void> {
  const tsc = join(workspace, 'node_modules/.bin/tsc')
  const args = ['-p', join(core, 'tsconfig.build.json'), '--outDir', join(target, 'dist')]
  await run(tsc, args, { cwd: core, env: process.env })
  const { publishConfig, ...manifest } = await readManifest()
  await writeFile(join(target, 'package.json'), JSON.stringify({ ...manifest, ...publishConfig }))
}

async function copyDependencies(modules: string): Promise<void> {
  const { dependencies } = await readManifest()
  for (const name of Object.keys(dependencies)) {
    await mkdir(join(modules, name, '..'), { recursive: true })
    const installed = await realpath(join(core, 'node_modules', name))
    await cp(installed, join(modules, name), { recursive: true, dereference: true })
  }
}

async function readManifest(): Promise<{ dependencies: object; publishConfig: object }> {
  return JSON.parse(await readFile(join(core, 'package.json'), 'utf8'))
}

async function measureIn(folder: string, program: string, flags: readonly string[]): Promise<number> {
  // Opening stdout takes milliseconds, so the program must have its figure by then.
  const printing = `${program}\nprocess.stdout.write(String(figure))`
  const args = [...flags, '--input-type=module', '--eval', printing]
  // Without the environment: a compile cache or options of the user would be measured too.
  const output = await run(process.execPath, args, { cwd: folder, env: {} })
  const figure = Number(output)
  if (Number.isFinite(figure) && output.trim() !== '') return figure
  throw new Error(
    `A measured program has the figure ${JSON.stringify(output)}, which is no number:\n${program}`,
  )
}

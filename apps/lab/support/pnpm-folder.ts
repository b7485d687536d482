/** Finds the pinned pnpm, which is on the PATH of `pnpm e2e` but not of a direct call of vitest. */
import { readFile } from 'node:fs/promises'
import { delimiter, dirname, join } from 'node:path'
import { machineEnvironment } from './machine-environment.ts'
import { run } from './run.ts'

/** The folder of the executable: release tools call pnpm by its bare name, so it must go on a PATH. */
export async function pnpmFolder(workspace: string): Promise<string> {
  const { packageManager } = JSON.parse(await readFile(join(workspace, 'package.json'), 'utf8'))
  const where = ['--yes', `--package=${packageManager}`, '--call=command -v pnpm']
  return dirname((await run('npx', where, { cwd: workspace, env: machineEnvironment() })).trim())
}

/** The same environment, with the tools in `folder` before all others. */
export function withTools(folder: string, env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return { ...env, PATH: [folder, env['PATH']].join(delimiter) }
}

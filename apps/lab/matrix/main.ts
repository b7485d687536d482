/**
 * `pnpm matrix [<argument of vitest>...]` runs the integration suites once on each folder of MULTINODE_TEST_BINS, one after
 * the other, and ends with a table. The exit status is 1 if any of them failed.
 */
import { spawnSync } from 'node:child_process'
import { resolve } from 'node:path'
import { UsageError } from '../bench/arguments.ts'
import { readServerFolders, type ServerFolder } from './server-folders.ts'

interface Outcome extends ServerFolder {
  readonly passed: boolean
}

const root = resolve(import.meta.dirname, '../../..')
const vitest = resolve(root, 'node_modules/vitest/vitest.mjs')

try {
  main(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  process.stderr.write(`${error.message}\n`)
  process.exitCode = 1
}

function main(vitestArguments: readonly string[]): void {
  const outcomes = readServerFolders(process.env).map((folder) => {
    say(`\n${folder.version} in ${folder.path}`)
    return { ...folder, passed: runSuites(folder.path, vitestArguments) }
  })
  say(`\n${formatTable(outcomes)}`)
  if (outcomes.some(({ passed }) => !passed)) process.exitCode = 1
}

function runSuites(folder: string, vitestArguments: readonly string[]): boolean {
  const { status, error } = spawnSync(
    process.execPath,
    [vitest, 'run', '--project', 'integration', ...vitestArguments],
    { cwd: root, env: { ...process.env, MULTINODE_TEST_BIN: folder }, stdio: 'inherit' },
  )
  if (error) throw error
  return status === 0
}

function formatTable(outcomes: readonly Outcome[]): string {
  const width = Math.max(...outcomes.map(({ version }) => version.length))
  return outcomes
    .map(({ version, passed, path }) => `${version.padEnd(width)}  ${passed ? 'passed' : 'failed'}  ${path}`)
    .join('\n')
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'
import { UsageError } from '../bench/arguments.ts'

export interface ServerFolder {
  readonly path: string
  /** Of its redis-server, such as `Redis 7.0.15` or `Valkey 8.0.1`. */
  readonly version: string
}

const variable = 'MULTINODE_TEST_BINS'
const skipVariable = 'MULTINODE_TEST_SKIP_SERVERS'
const versionDeadlineMs = 10_000

/**
 * The folders that the environment names, each once. All are looked at first, because the testbed would pass over one
 * that has no server and test another server in its place.
 * @throws `UsageError` that names each folder that will not do
 */
export function readServerFolders(env: NodeJS.ProcessEnv): ServerFolder[] {
  if (env[skipVariable] === '1')
    throw new UsageError(`${skipVariable}=1 leaves out what is to be tested here.`)
  const named = (env[variable] ?? '').split(delimiter).filter(Boolean)
  const paths = [...new Set(named.map((folder) => resolve(folder)))]
  if (paths.length === 0) throw namesNone()
  const looked = paths.map((path) => ({ path, ...lookAt(path) }))
  const troubles = looked.flatMap(({ trouble }) => trouble ?? [])
  if (troubles.length > 0)
    throw new UsageError([`${variable} names what will not do:`, ...troubles].join('\n'))
  return looked.map(({ path, version = '' }) => ({ path, version }))
}

function namesNone(): UsageError {
  const example = ['/opt/redis-8/bin', '/opt/valkey-8/bin'].join(delimiter)
  return new UsageError(
    `${variable} names no folder. List those to test, each with a file called redis-server, separated as in PATH:\n` +
      `  ${variable}=${example} pnpm matrix packages/lock-redis`,
  )
}

function lookAt(folder: string): { version?: string; trouble?: string } {
  const program = join(folder, 'redis-server')
  if (!existsSync(program)) return { trouble: `  ${folder} has no redis-server; a link of that name will do` }
  const { error, stdout } = spawnSync(program, ['--version'], {
    encoding: 'utf8',
    timeout: versionDeadlineMs,
  })
  if (error) return { trouble: `  ${program} cannot be run: ${error.message}` }
  const [, product, number] = /^(\w+) server v=(\S+)/.exec(stdout) ?? []
  if (number === undefined)
    return { trouble: `  ${program} is no server: --version says ${JSON.stringify(stdout)}` }
  return { version: `${product} ${number}` }
}

import { findByApt } from './apt.ts'
import { findByDocker } from './docker.ts'
import { executableIn, type Host, lookOnPath, type ServerProgram, thisHost } from './host.ts'

export const serverCommands = ['redis-server'] as const

export type ServerCommand = (typeof serverCommands)[number]

const programs: Record<ServerCommand, ServerProgram> = {
  'redis-server': {
    command: 'redis-server',
    aptPackage: 'redis-server',
    dockerImage: 'redis:7-bookworm',
    pathInImage: '/usr/local/bin/redis-server',
  },
}

export interface FoundServer {
  readonly command: ServerCommand
  readonly path: string
  /** Where it came from, for people. */
  readonly source: string
}

interface Way {
  readonly source: string
  /** Throws the reason when there is none. */
  readonly find: (program: ServerProgram, host: Host) => string | Promise<string>
}

const ways: readonly Way[] = [
  { source: 'MULTINODE_TEST_BIN', find: findInTestBin },
  { source: 'PATH', find: findOnPath },
  { source: 'Docker', find: findByDocker },
  { source: 'apt', find: findByApt },
]

/** The server's binary, by the first way that has it; an error with all ways out when none has. */
export async function findServer(command: ServerCommand, host: Host = thisHost): Promise<FoundServer> {
  const program = programs[command]
  const misses: string[] = []
  for (const { source, find } of ways) {
    try {
      return { command, path: await find(program, host), source }
    } catch (error) {
      misses.push(`  ${source}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  throw new Error(
    `${command} was not found, and the tests need it. Looked at:
${misses.join('\n')}
Do one of these:
  install it, so that ${command} is on PATH (apt-get install ${program.aptPackage})
  name a folder that holds it: MULTINODE_TEST_BIN=<folder>
  start a Docker engine
Or leave out the tests that need it: MULTINODE_TEST_SKIP_SERVERS=1`,
  )
}

function findInTestBin({ command }: ServerProgram, { env }: Host): string {
  const folder = env['MULTINODE_TEST_BIN']
  if (!folder) throw new Error('not set')
  const path = executableIn(folder, command)
  if (!path) throw new Error(`no ${command} in ${folder}`)
  return path
}

function findOnPath({ command }: ServerProgram, host: Host): string {
  const path = lookOnPath(command, host)
  if (!path) throw new Error('not there, nor in the usual sbin folders')
  return path
}

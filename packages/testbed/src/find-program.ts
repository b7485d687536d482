import { findByApt } from './apt.ts'
import { findByDocker } from './docker.ts'
import { type Host, lookFor, lookForProgram, type Program, thisHost } from './host.ts'

export type ProgramName = 'redis-server' | 'rabbitmq-server' | 'openssl' | 'libfaketime'

const programs: Record<ProgramName, Program> = {
  'redis-server': {
    command: 'redis-server',
    aptPackage: 'redis-server',
    docker: { image: 'redis:7-bookworm', path: '/usr/local/bin/redis-server' },
  },
  // With rabbitmqctl beside it; Erlang, which it needs, is many files and no program to copy.
  'rabbitmq-server': { command: 'rabbitmq-server', aptPackage: 'rabbitmq-server', hasWrapper: true },
  openssl: { command: 'openssl', aptPackage: 'openssl' },
  // The variant for several threads, which Node has.
  libfaketime: { command: 'libfaketimeMT.so.1', aptPackage: 'libfaketime', isLibrary: true },
}

/** What the tests need on this system; preloading libfaketime works on Linux. */
export const neededPrograms: readonly ProgramName[] = [
  'redis-server',
  'rabbitmq-server',
  'openssl',
  ...(process.platform === 'linux' ? (['libfaketime'] as const) : []),
]

export interface FoundProgram extends Program {
  readonly path: string
  /** Where it came from, for people. */
  readonly source: string
}

interface Way {
  readonly source: string
  /** Throws the reason when there is none. */
  readonly find: (program: Program, host: Host) => string | Promise<string>
}

const ways: readonly Way[] = [
  { source: 'MULTINODE_TEST_BIN', find: findInTestBin },
  { source: 'PATH', find: findOnPath },
  { source: 'Docker', find: findByDocker },
  { source: 'apt', find: findByApt },
]

/** The program, by the first way that has it; an error with all ways out when none has. */
export async function findProgram(name: ProgramName, host: Host = thisHost): Promise<FoundProgram> {
  const program = programs[name]
  const misses: string[] = []
  for (const { source, find } of ways) {
    try {
      return { ...program, path: await find(program, host), source }
    } catch (error) {
      misses.push(`  ${source}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  throw new Error(
    [
      `${name} was not found, and the tests need it. Looked at:`,
      ...misses,
      'Do one of these:',
      ...waysOut(program),
      'Or leave out the tests that need it: MULTINODE_TEST_SKIP_SERVERS=1',
    ].join('\n'),
  )
}

function waysOut({ command, aptPackage, docker, isLibrary }: Program): string[] {
  const goal = isLibrary ? '' : `, so that ${command} is on PATH`
  return [
    `  install it${goal} (apt-get install ${aptPackage})`,
    `  name a folder that holds ${isLibrary ? command : 'it'}: MULTINODE_TEST_BIN=<folder>`,
    ...(docker ? ['  start a Docker engine'] : []),
  ]
}

function findInTestBin(program: Program, { env }: Host): string {
  const folder = env['MULTINODE_TEST_BIN']
  if (!folder) throw new Error('not set')
  const path = lookFor(program, [folder])
  if (!path) throw new Error(`no ${program.command} in ${folder}`)
  return path
}

function findOnPath(program: Program, host: Host): string {
  const path = lookForProgram(program, host)
  if (!path) throw new Error('not there, nor in the usual folders')
  return path
}

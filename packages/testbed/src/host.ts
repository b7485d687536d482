import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'

export interface Program {
  /** The name of the file. */
  readonly command: string
  readonly aptPackage: string
  /** Absent where no official image has it. */
  readonly docker?: { readonly image: string; readonly path: string }
  /** A library is read by the loader, and need not be executable. */
  readonly isLibrary?: boolean
  /** A script of the same name in `wrapperFolders` is not the program. */
  readonly hasWrapper?: boolean
}

/** What finding a program depends on; the tests give another one. */
export interface Host {
  readonly env: NodeJS.ProcessEnv
  /** Searched after PATH, which often lacks the sbin folders. */
  readonly usualFolders: readonly string[]
  /** Where packages put scripts that start a program as their own user, on the system's own folders. */
  readonly wrapperFolders: readonly string[]
  readonly isRoot: boolean
  readonly servicePolicyFile: string
  announce(line: string): void
}

export const thisHost: Host = {
  env: process.env,
  usualFolders: [
    '/usr/local/sbin',
    '/usr/local/bin',
    '/usr/sbin',
    '/usr/bin',
    '/sbin',
    '/bin',
    // libfaketime: Debian keeps it below the folder of the machine's architecture.
    `/usr/lib/${debianArchitecture()}/faketime`,
    '/usr/lib64/faketime',
    '/usr/local/lib/faketime',
    '/usr/lib/rabbitmq/bin',
  ],
  wrapperFolders: ['/usr/sbin', '/sbin'],
  isRoot: process.getuid?.() === 0,
  servicePolicyFile: '/usr/sbin/policy-rc.d',
  announce: (line) => process.stderr.write(`testbed: ${line}\n`),
}

/** The folders of PATH, then the usual ones that PATH lacks. */
export function searchFolders({ env, usualFolders }: Host): readonly string[] {
  return [...new Set([...(env['PATH'] ?? '').split(delimiter).filter(Boolean), ...usualFolders])]
}

export function lookOnPath(command: string, host: Host): string | undefined {
  return lookIn(searchFolders(host), command)
}

/** On PATH and in the usual folders: a file that may be executed, or read if it is a library. */
export function lookForProgram(program: Program, host: Host): string | undefined {
  const folders = searchFolders(host)
  const { wrapperFolders } = host
  return lookFor(
    program,
    program.hasWrapper ? folders.filter((each) => !wrapperFolders.includes(each)) : folders,
  )
}

/** The same in those folders. */
export function lookFor({ command, isLibrary }: Program, folders: readonly string[]): string | undefined {
  return lookIn(folders, command, isLibrary ? constants.R_OK : constants.X_OK)
}

/** The first file of this name in those folders. */
export function lookIn(
  folders: readonly string[],
  file: string,
  access: number = constants.X_OK,
): string | undefined {
  return folders.map((folder) => join(folder, file)).find((path) => isFile(path, access))
}

function isFile(path: string, access: number): boolean {
  try {
    accessSync(path, access)
    return statSync(path).isFile()
  } catch {
    return false
  }
}

function debianArchitecture(): string {
  return process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu'
}

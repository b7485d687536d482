import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'

export interface ServerProgram {
  readonly command: string
  readonly aptPackage: string
  readonly dockerImage: string
  readonly pathInImage: string
}

/** What finding a server depends on; the tests give another one. */
export interface Host {
  readonly env: NodeJS.ProcessEnv
  /** Searched after PATH, which often lacks the sbin folders. */
  readonly usualFolders: readonly string[]
  readonly isRoot: boolean
  readonly servicePolicyFile: string
  announce(line: string): void
}

export const thisHost: Host = {
  env: process.env,
  usualFolders: ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'],
  isRoot: process.getuid?.() === 0,
  servicePolicyFile: '/usr/sbin/policy-rc.d',
  announce: (line) => process.stderr.write(`testbed: ${line}\n`),
}

/** The folders of PATH, then the usual ones that PATH lacks. */
export function searchFolders({ env, usualFolders }: Host): readonly string[] {
  return [...new Set([...(env['PATH'] ?? '').split(delimiter).filter(Boolean), ...usualFolders])]
}

export function lookOnPath(command: string, host: Host): string | undefined {
  for (const folder of searchFolders(host)) {
    const path = executableIn(folder, command)
    if (path) return path
  }
  return undefined
}

export function executableIn(folder: string, command: string): string | undefined {
  const path = join(folder, command)
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile() ? path : undefined
  } catch {
    return undefined
  }
}

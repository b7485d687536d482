import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onExit } from './on-exit.ts'
import { processState } from './process-state.ts'

/** Everything the testbed writes is below this folder; one per user, for the sake of shared machines. */
export function testbedFolder(...path: string[]): string {
  const folder = join(tmpdir(), `multinode-testbed-${process.getuid?.() ?? 'user'}`, ...path)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  return folder
}

export interface TemporaryFolder {
  readonly path: string
  readonly remove: () => void
}

/** A new empty folder; removed by `remove()`, else when this process ends, else by a later run's sweep. */
export function temporaryFolder(tag: string): TemporaryFolder {
  const path = mkdtempSync(join(testbedFolder('folders'), `${process.pid}-${tag}-`))
  const forget = onExit(() => removeFolder(path))
  const remove = () => {
    forget()
    removeFolder(path)
  }
  return { path, remove }
}

/** Removes the folders of processes that are gone (SIGKILL leaves them). */
export function sweepTemporaryFolders(): void {
  const parent = testbedFolder('folders')
  const orphans = readdirSync(parent).filter((name) => processState(Number.parseInt(name, 10)) === 'gone')
  for (const name of orphans) removeFolder(join(parent, name))
}

function removeFolder(path: string): void {
  // A server that is being killed may still create a file meanwhile: hence the retries. When somebody else removes one, as another run's sweep does, Node leaves the rest and says nothing: hence the look.
  do rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 })
  while (existsSync(path))
}

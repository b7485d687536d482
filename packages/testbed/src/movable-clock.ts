import { existsSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { findProgram } from './find-program.ts'
import { onExit } from './on-exit.ts'
import { processState } from './process-state.ts'
import { type TemporaryFolder, temporaryFolder } from './temp-folder.ts'

// Where libfaketime puts what the processes below one share. It leaves that there when a signal ends them, and a
// later process that gets the same pid would then not start.
const sharedFolder = '/dev/shm'

/** A wall clock for one child process, and whatever that starts; time since a start is measured as ever. */
export async function movableClock(): Promise<MovableClock> {
  if (process.platform !== 'linux') throw new Error('a movable clock needs Linux: it preloads libfaketime')
  const { path } = await findProgram('libfaketime')
  return new MovableClock(path, temporaryFolder('clock'))
}

export class MovableClock {
  /** For the child. */
  readonly env: Readonly<Record<string, string>>
  readonly #folder: TemporaryFolder
  readonly #file: string
  #offsetMs = 0
  #pid: number | undefined
  #forget: (() => void) | undefined

  constructor(library: string, folder: TemporaryFolder) {
    this.#folder = folder
    this.#file = join(folder.path, 'offset')
    this.env = {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: this.#file,
      // The file is read on every look at the clock: with a cache, moves are seen late or never.
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    }
    this.move(0)
  }

  /** Later by this much, or earlier if negative; moves add up. Every later look at the clock sees it. */
  move(ms: number): void {
    this.#offsetMs += ms
    const sign = this.#offsetMs < 0 ? '-' : '+'
    // Renamed, so that the child never reads half of it.
    writeFileSync(`${this.#file}.new`, `${sign}${(Math.abs(this.#offsetMs) / 1000).toFixed(3)}\n`)
    renameSync(`${this.#file}.new`, this.#file)
  }

  /** Tells which process has it, whose remains are then removed at this process's end, too. */
  startedAs(pid: number): void {
    this.#pid = pid
    this.#forget = onExit(() => removeShared(pid))
  }

  /** When the child has ended, or was never started. */
  remove(): void {
    this.#forget?.()
    if (this.#pid !== undefined) removeShared(this.#pid)
    this.#folder.remove()
  }
}

/** Removes what SIGKILL left of clocks whose processes are gone. */
export function sweepClocks(): void {
  if (!existsSync(sharedFolder)) return
  for (const name of readdirSync(sharedFolder)) {
    const pid = /^(?:faketime_shm|sem\.faketime_sem)_(\d+)$/.exec(name)?.[1]
    if (pid !== undefined && isOurs(name) && processState(Number(pid)) === 'gone') removeShared(Number(pid))
  }
}

function isOurs(name: string): boolean {
  return statSync(join(sharedFolder, name), { throwIfNoEntry: false })?.uid === process.getuid?.()
}

function removeShared(pid: number): void {
  for (const name of [`faketime_shm_${pid}`, `sem.faketime_sem_${pid}`])
    rmSync(join(sharedFolder, name), { force: true })
}

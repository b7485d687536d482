import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { onExit } from './on-exit.ts'
import { processState } from './process-state.ts'

/**
 * Takes something for this process alone, among all processes of this machine, by a file with its pid.
 * Returns a function that gives it back (also done when this process ends), or undefined when it is taken.
 * A claim whose process is gone is taken over.
 */
export function claim(file: string): (() => void) | undefined {
  dropIfOwnerIsGone(file)
  if (!createWithOwner(file)) return undefined
  const release = () => rmSync(file, { force: true })
  const forget = onExit(release)
  return () => {
    forget()
    release()
  }
}

function createWithOwner(file: string): boolean {
  // A link appears at once with its content: nobody can read a claim that has no owner yet.
  const prepared = `${file}.${process.pid}`
  writeFileSync(prepared, String(process.pid))
  try {
    linkSync(prepared, file)
    return true
  } catch (error) {
    if (isErrorCode(error, 'EEXIST')) return false
    throw error
  } finally {
    rmSync(prepared, { force: true })
  }
}

function dropIfOwnerIsGone(file: string): void {
  const aside = `${file}.${process.pid}`
  try {
    if (ownerIsAlive(file)) return
    renameSync(file, aside)
    // Between the look and the move, another process may have taken the claim over: give it back.
    if (ownerIsAlive(aside)) linkSync(aside, file)
  } catch (error) {
    if (!isErrorCode(error, 'ENOENT') && !isErrorCode(error, 'EEXIST')) throw error
  } finally {
    rmSync(aside, { force: true })
  }
}

function ownerIsAlive(file: string): boolean {
  return processState(Number(readFileSync(file, 'utf8'))) !== 'gone'
}

function isErrorCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}

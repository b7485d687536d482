import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'

export type ProcessState = 'running' | 'stopped' | 'gone'

/** What the system says of a process, whoever started it. A zombie is gone: `kill(pid, 0)` would call it alive. */
export function processState(pid: number): ProcessState {
  const letter = existsSync('/proc/self/status') ? letterFromProc(pid) : letterFromPs(pid)
  if (letter === undefined || letter === 'Z' || letter === 'X') return 'gone'
  return letter === 'T' || letter === 't' ? 'stopped' : 'running'
}

function letterFromProc(pid: number): string | undefined {
  try {
    return /^State:\s+(\w)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  } catch {
    return undefined
  }
}

function letterFromPs(pid: number): string | undefined {
  return /\w/.exec(spawnSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' }).stdout)?.[0]
}

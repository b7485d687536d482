import { type ChildProcess, spawn, spawnSync, type StdioOptions } from 'node:child_process'
import { once } from 'node:events'
import { basename } from 'node:path'
import { isMainThread } from 'node:worker_threads'
import { withDeadline } from './deadline.ts'
import { onExit } from './on-exit.ts'
import { processState } from './process-state.ts'
import { waitUntil } from './wait-until.ts'

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface ProcessOptions {
  readonly cwd?: string
  /** The whole environment: nothing is inherited. */
  readonly env: NodeJS.ProcessEnv
  readonly stdio: StdioOptions
}

/** Starts a process that does not outlive this one: stopped at its end, and killed by the kernel on SIGKILL. */
export async function startProcess(
  command: string,
  args: readonly string[],
  options: ProcessOptions,
): Promise<LocalProcess> {
  // The kernel ties the death signal to the thread that spawned, so a worker's end would kill the child.
  if (!isMainThread) throw new Error(`start ${command} from the main thread (vitest: pool 'forks')`)
  const [file = command, ...rest] = [...deathSignalPrefix(), command, ...args]
  // Detached = a process group of its own: Ctrl-C reaches this process, which then stops its children.
  const child = spawn(file, rest, { ...options, detached: true })
  const local = new LocalProcess(basename(command), child)
  await once(child, 'spawn')
  return local
}

export class LocalProcess {
  readonly child: ChildProcess
  /** Settles when the process is gone, whoever ended it. */
  readonly exited: Promise<Exit>
  readonly #name: string

  constructor(name: string, child: ChildProcess) {
    this.#name = name
    this.child = child
    const forget = onExit(() => child.kill('SIGKILL'))
    this.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        forget()
        resolve({ code, signal })
      })
    })
  }

  get pid(): number {
    return this.child.pid ?? -1
  }

  get alive(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null
  }

  /** Sends a signal, and waits for nothing. */
  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }

  /** Sends a signal and waits until the process is gone. */
  async kill(signal: NodeJS.Signals = 'SIGKILL', deadlineMs = 10_000): Promise<Exit> {
    this.signal(signal)
    return await withDeadline(
      this.exited,
      deadlineMs,
      () =>
        `${this.#name} (pid ${this.pid}, ${processState(this.pid)}) is still there ${deadlineMs} ms after ` +
        `${signal}; use SIGKILL, or resume() it first if it is stopped`,
    )
  }

  /** SIGSTOP; returns when no more instruction is executed. Connections stay open and silent. */
  async pause(): Promise<void> {
    if (!this.alive) throw new Error(`${this.#name} has ended and cannot be paused; start it again first`)
    this.signal('SIGSTOP')
    await waitUntil(`${this.#name} to be stopped`, () => processState(this.pid) !== 'running', { everyMs: 2 })
  }

  /** SIGCONT. */
  resume(): void {
    this.signal('SIGCONT')
  }

  /** SIGTERM, also to a paused process; SIGKILL when that does not end it. May be called twice. */
  async stop(): Promise<Exit> {
    if (!this.alive) return await this.exited
    this.resume()
    try {
      return await this.kill('SIGTERM', 5_000)
    } catch {
      return await this.kill('SIGKILL')
    }
  }
}

let prefix: readonly string[] | undefined

function deathSignalPrefix(): readonly string[] {
  // Tried, not looked up: busybox has a setpriv without this option.
  const words = ['setpriv', '--pdeathsig', 'KILL', '--']
  prefix ??= spawnSync('setpriv', [...words.slice(1), 'true'], { stdio: 'ignore' }).status === 0 ? words : []
  return prefix
}

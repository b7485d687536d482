import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** A Node process without the test runner, whose output can be waited for. */
export class PlainNode {
  readonly ended: Promise<Ended>
  readonly #child: ReturnType<typeof spawn>
  readonly #waiting = new Map<string, () => void>()
  #stdout = ''
  #stderr = ''

  constructor(
    args: readonly string[],
    options: { readonly cwd?: string; readonly env?: Record<string, string> } = {},
  ) {
    this.#child = spawn(process.execPath, args, {
      cwd: options.cwd,
      env: { PATH: process.env['PATH'], ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child.stdout?.on('data', (chunk) => this.#read(String(chunk)))
    this.#child.stderr?.on('data', (chunk) => {
      this.#stderr += String(chunk)
    })
    this.ended = new Promise((resolve, reject) => {
      this.#child.on('error', reject)
      this.#child.on('close', (code, signal) => {
        for (const found of this.#waiting.values()) found()
        resolve({ code, signal, stdout: this.#stdout, stderr: this.#stderr })
      })
    })
  }

  /** Until the process has printed `text`, or has ended. */
  printed(text: string): Promise<void> {
    if (this.#stdout.includes(text)) return Promise.resolve()
    return new Promise((resolve) => {
      this.#waiting.set(text, resolve)
    })
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  #read(chunk: string): void {
    this.#stdout += chunk
    for (const [text, found] of this.#waiting) if (this.#stdout.includes(text)) found()
  }
}

/** The specifier of a source file of core, for scripts that run in a plain Node. */
export function sourceUrl(relative: string): string {
  return new URL(`../../src/${relative}`, import.meta.url).href
}

/** The path of a script beside the tests. */
export function scriptPath(relative: string): string {
  return fileURLToPath(new URL(`../${relative}`, import.meta.url))
}

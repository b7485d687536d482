import { createInterface } from 'node:readline'
import type { Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { LineBox } from './line-box.ts'
import { type Exit, type LocalProcess, startProcess } from './process.ts'

export interface SpawnNodeOptions {
  /** Given to the child besides PATH, HOME and LANG. */
  readonly env?: Readonly<Record<string, string>>
  readonly args?: readonly string[]
}

/** Runs a file in a Node process of its own, which talks to the test in lines on stdin and stdout. */
export async function spawnNode(file: string | URL, options: SpawnNodeOptions = {}): Promise<NodeChild> {
  const { env = {}, args = [] } = options
  const { PATH, HOME, LANG } = process.env
  const path = file instanceof URL ? fileURLToPath(file) : file
  const started = await startProcess(process.execPath, [path, ...args], {
    env: { PATH, HOME, LANG, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  return new NodeChild(path, started)
}

export class NodeChild {
  readonly pid: number
  /** Settles when the process is gone, whoever ended it. */
  readonly exited: Promise<Exit>
  readonly #file: string
  readonly #process: LocalProcess
  readonly #stdin: Writable
  readonly #lines = new LineBox()
  #output = ''

  constructor(file: string, started: LocalProcess) {
    const { stdin, stdout, stderr } = started.child
    if (!stdin || !stdout || !stderr)
      throw new Error('start a Node child with pipes for stdin, stdout, stderr')
    this.pid = started.pid
    this.exited = started.exited
    this.#file = file
    this.#process = started
    this.#stdin = stdin
    // Writing to a child that has ended: `exited` says so, and nextLine() rejects.
    stdin.on('error', () => {})
    stderr.setEncoding('utf8').on('data', (text: string) => (this.#output += text))
    createInterface({ input: stdout }).on('line', (line) => {
      this.#output += `${line}\n`
      this.#lines.add(line)
    })
    // 'close', not 'exit': the last lines may come after the process is gone.
    started.child.once('close', () => this.#lines.end())
  }

  /** One line to the child's stdin. */
  send(line: string): void {
    this.#stdin.write(`${line}\n`)
  }

  /**
   * The first unread line of stdout that contains the text or matches the pattern, as soon as it is there;
   * without `match`, the first unread line. Other lines stay unread, for other calls. Rejects with all output
   * after `deadlineMs`, or when the child has ended without such a line.
   */
  async nextLine(match: string | RegExp = '', deadlineMs = 10_000): Promise<string> {
    return await this.#lines.take(match, deadlineMs, (reason) => {
      const wanted = match === '' ? 'no line' : `no line with ${match}`
      return new Error(
        `${this.#file} wrote ${wanted} ${reason}. All its output:\n${this.#output || '(none)'}`,
      )
    })
  }

  /** Everything the child has written so far to stdout and stderr. */
  output(): string {
    return this.#output
  }

  /** Sends a signal, and waits for nothing. */
  signal(signal: NodeJS.Signals): void {
    this.#process.signal(signal)
  }

  /** Sends a signal and waits until the process is gone. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<Exit> {
    return await this.#process.kill(signal)
  }

  /** SIGSTOP: the child executes nothing, and its connections stay open. */
  async pause(): Promise<void> {
    await this.#process.pause()
  }

  /** SIGCONT: timers that are overdue fire now. */
  resume(): void {
    this.#process.resume()
  }

  /** SIGTERM, also to a paused child; SIGKILL when it is still there after 5 s. May be called twice. */
  async stop(): Promise<Exit> {
    return await this.#process.stop()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}

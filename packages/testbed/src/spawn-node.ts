import { createInterface } from 'node:readline'
import type { Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { LineBox } from './line-box.ts'
import { type MovableClock, movableClock } from './movable-clock.ts'
import { type Exit, type LocalProcess, startProcess } from './process.ts'
import { stall, stallPreload } from './stall.ts'
import { testbedFolder } from './temp-folder.ts'

export interface SpawnNodeOptions {
  /** Given to the child besides PATH, HOME, LANG and a place for compiled code. */
  readonly env?: Readonly<Record<string, string>>
  readonly args?: readonly string[]
  /** Lets moveClock() move what the child takes for the time of day. Linux only. Default false. */
  readonly clock?: boolean
}

/** Runs a file in a Node process of its own, which talks to the test in lines on stdin and stdout. */
export async function spawnNode(file: string | URL, options: SpawnNodeOptions = {}): Promise<NodeChild> {
  const { env = {}, args = [] } = options
  const { PATH, HOME, LANG } = process.env
  // Half of what a child costs is to compile what it imports, and most import the same.
  const NODE_COMPILE_CACHE = testbedFolder('compile-cache')
  const path = file instanceof URL ? fileURLToPath(file) : file
  const clock = options.clock ? await movableClock() : undefined
  try {
    const started = await startProcess(process.execPath, ['--import', stallPreload, path, ...args], {
      env: { PATH, HOME, LANG, NODE_COMPILE_CACHE, ...clock?.env, ...env },
      stdio: ['pipe', 'pipe', 'pipe', 'ipc'],
    })
    clock?.startedAs(started.pid)
    return new NodeChild(path, started, clock)
  } catch (error) {
    clock?.remove()
    throw error
  }
}

export class NodeChild {
  readonly pid: number
  /** Settles when the process is gone, whoever ended it. */
  readonly exited: Promise<Exit>
  readonly #file: string
  readonly #process: LocalProcess
  readonly #stdin: Writable
  readonly #clock: MovableClock | undefined
  readonly #lines = new LineBox()
  #output = ''

  constructor(file: string, started: LocalProcess, clock?: MovableClock) {
    const { stdin, stdout, stderr } = started.child
    if (!stdin || !stdout || !stderr)
      throw new Error('start a Node child with pipes for stdin, stdout, stderr')
    this.pid = started.pid
    this.exited = started.exited
    this.#file = file
    this.#process = started
    this.#stdin = stdin
    this.#clock = clock
    // Writing to a child that has ended: `exited` says so, and nextLine() rejects.
    stdin.on('error', () => {})
    stderr.setEncoding('utf8').on('data', (text: string) => (this.#output += text))
    createInterface({ input: stdout }).on('line', (line) => {
      this.#output += `${line}\n`
      this.#lines.add(line)
    })
    // 'close', not 'exit': the last lines may come after the process is gone.
    started.child.once('close', () => this.#lines.end())
    started.child.once('exit', () => clock?.remove())
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
  async nextLine(match: string | RegExp = '', deadlineMs = 30_000): Promise<string> {
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

  /** Keeps the event loop from turning for this long; resolves when that begins. SIGKILL ends it. */
  async stall(ms: number): Promise<void> {
    if (!this.#process.alive) throw new Error(`${this.#file} has ended and cannot be stalled`)
    await stall(this.#process.child, ms)
  }

  /**
   * The child's Date is later by this much, or earlier if negative; moves add up. performance.now() and timers
   * run on. Needs `clock: true`.
   */
  moveClock(ms: number): void {
    if (!this.#clock) throw new Error(`start ${this.#file} with { clock: true } to move its clock`)
    if (!this.#process.alive) throw new Error(`${this.#file} has ended and has no clock any more`)
    this.#clock.move(ms)
  }

  /** SIGTERM, also to a paused child; SIGKILL when it is still there after 5 s. May be called twice. */
  async stop(): Promise<Exit> {
    return await this.#process.stop()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}

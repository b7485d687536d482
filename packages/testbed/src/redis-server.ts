import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { findServer } from './find-server.ts'
import { type ClaimedPort, claimPort } from './ports.ts'
import { type Exit, type LocalProcess, startProcess } from './process.ts'
import { type TemporaryFolder, temporaryFolder } from './temp-folder.ts'
import { waitUntil } from './wait-until.ts'

export interface RedisOptions {
  /** Keep data over a crash: an append-only file, synced on every write. Default false: nothing is stored. */
  readonly aof?: boolean
  readonly password?: string
  /** More arguments of redis-server, such as `['--maxmemory', '10mb']`. */
  readonly args?: readonly string[]
}

/** A Redis of our own on a free loopback port, with temporary data; resolves when it answers. */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const { path } = await findServer('redis-server')
  const server = new RedisServer(path, await claimPort(), temporaryFolder('redis'), options)
  try {
    await server.restart()
    return server
  } catch (error) {
    await server.stop()
    throw error
  }
}

export class RedisServer {
  readonly port: number
  /** With the password, if there is one. */
  readonly url: string
  readonly #binary: string
  readonly #claimedPort: ClaimedPort
  readonly #folder: TemporaryFolder
  readonly #options: RedisOptions
  readonly #logFile: string
  #process: LocalProcess | undefined

  constructor(binary: string, claimedPort: ClaimedPort, folder: TemporaryFolder, options: RedisOptions) {
    const credentials = options.password === undefined ? '' : `:${encodeURIComponent(options.password)}@`
    this.port = claimedPort.port
    this.url = `redis://${credentials}127.0.0.1:${this.port}/0`
    this.#binary = binary
    this.#claimedPort = claimedPort
    this.#folder = folder
    this.#options = options
    this.#logFile = join(folder.path, 'redis.log')
  }

  /** Of the running process; changes with restart(). */
  get pid(): number {
    return this.#running.pid
  }

  /** Data and log; gone after stop(). */
  get folder(): string {
    return this.#folder.path
  }

  /** Sends the signal and waits for the end. SIGKILL is a crash: only what the AOF holds survives it. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<Exit> {
    return await this.#running.kill(signal)
  }

  /** SIGSTOP: connections stay open, and nothing answers. */
  async pause(): Promise<void> {
    await this.#running.pause()
  }

  /** SIGCONT: what was sent meanwhile is answered now. */
  resume(): void {
    this.#running.resume()
  }

  /** Ends it cleanly unless it is down already, and starts it on the same port and folder. */
  async restart(): Promise<void> {
    await this.#process?.stop()
    this.#process = await this.#spawn()
    await this.#untilReady(this.#process)
  }

  /** FLUSHALL. */
  async flush(): Promise<void> {
    await this.cli('FLUSHALL')
  }

  /** One raw command on a connection of its own, so that nothing of the test's connections is disturbed. */
  async cli(command: string, ...args: readonly string[]): Promise<unknown> {
    const client = new Redis(this.url, {
      lazyConnect: true,
      connectTimeout: 5_000,
      commandTimeout: 5_000,
      enableReadyCheck: false,
      maxRetriesPerRequest: 0,
      retryStrategy: () => null,
    })
    // The same failure rejects the promises below; without a listener ioredis also prints it.
    client.on('error', () => {})
    try {
      await client.connect()
      return await client.call(command, ...args)
    } finally {
      client.disconnect()
    }
  }

  /** Ends it and removes its data. May be called twice. */
  async stop(): Promise<void> {
    // Its data goes anyway, and SIGTERM would wait for the server's next 100 ms tick.
    if (this.#process?.alive) await this.#process.kill('SIGKILL')
    this.#folder.remove()
    this.#claimedPort.release()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  get #running(): LocalProcess {
    if (!this.#process?.alive)
      throw new Error(`redis-server on port ${this.port} is down; restart() it first`)
    return this.#process
  }

  async #spawn(): Promise<LocalProcess> {
    const { aof = false, password, args = [] } = this.#options
    const log = openSync(this.#logFile, 'a')
    const settings = [
      ['--bind', '127.0.0.1', '--port', String(this.port), '--dir', this.folder],
      ['--daemonize', 'no', '--logfile', '', '--save', ''],
      aof ? ['--appendonly', 'yes', '--appendfsync', 'always'] : ['--appendonly', 'no'],
      password === undefined ? [] : ['--requirepass', password],
    ]
    try {
      return await startProcess(this.#binary, [...settings.flat(), ...args], {
        cwd: this.folder,
        env: { PATH: process.env['PATH'], LANG: 'C.UTF-8' },
        stdio: ['ignore', log, log],
      })
    } finally {
      closeSync(log)
    }
  }

  async #untilReady(started: LocalProcess): Promise<void> {
    try {
      // PING, not a mere connection: it fails while the data is still being loaded.
      const probe = async () => !started.alive || (await this.cli('PING')) === 'PONG'
      await waitUntil('PONG', probe, { everyMs: 10 })
      if (!started.alive) throw new Error(`it ended with ${JSON.stringify(await started.exited)}`)
    } catch (error) {
      const log = readFileSync(this.#logFile, 'utf8').slice(-1500)
      throw new Error(`redis-server on port ${this.port} did not come up; its log ends:\n${log}`, {
        cause: error,
      })
    }
  }
}

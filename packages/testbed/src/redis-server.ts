import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { findProgram } from './find-program.ts'
import { type ClaimedPort, claimPort } from './ports.ts'
import { type Exit, type LocalProcess, startProcess } from './process.ts'
import { type ProcessState, processState } from './process-state.ts'
import { type ConfigLine, redisConfig, type RedisUser } from './redis-config.ts'
import { type TemporaryFolder, temporaryFolder } from './temp-folder.ts'
import { type TestCa, testCa, type TlsFiles } from './test-ca.ts'
import { waitUntil } from './wait-until.ts'

export interface RedisOptions {
  /** The only one here; Sentinel and Cluster have functions of their own. */
  readonly mode?: 'single'
  /** Keep data over a crash: an append-only file, synced on every write. Default false: nothing is stored. */
  readonly aof?: boolean
  readonly password?: string
  /** Only TLS, with a certificate of our own authority; `mutual`: clients need one of it as well. */
  readonly tls?: 'server' | 'mutual'
  /** Besides the default user. */
  readonly users?: readonly RedisUser[]
  /** More arguments of redis-server, such as `['--maxmemory', '10mb']`. */
  readonly args?: readonly string[]
}

/** A Redis of our own on a free loopback port, with temporary data; resolves when it answers. */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  return await startRedisOn(await claimPort(), options)
}

export interface ServerOptions extends RedisOptions {
  readonly config?: readonly ConfigLine[]
}

/** One of several, with configuration of its own, on a port that the caller claimed and the server releases. */
export async function startRedisOn(claimedPort: ClaimedPort, options: ServerOptions): Promise<RedisServer> {
  const server = await prepare(claimedPort, options)
  try {
    await server.restart()
    return server
  } catch (error) {
    await server.stop()
    throw error
  }
}

async function prepare(claimedPort: ClaimedPort, options: ServerOptions): Promise<RedisServer> {
  try {
    const { path } = await findProgram('redis-server')
    const certificates = options.tls && (await testCa())
    return new RedisServer(path, claimedPort, temporaryFolder('redis'), options, certificates)
  } catch (error) {
    claimedPort.release()
    throw error
  }
}

export class RedisServer {
  readonly port: number
  /** With the password of the default user, if there is one. */
  readonly url: string
  /** For a client of a server with TLS: the authority's certificate, and a certificate with its key. */
  readonly tls: TlsFiles | undefined
  readonly #binary: string
  readonly #claimedPort: ClaimedPort
  readonly #folder: TemporaryFolder
  readonly #options: ServerOptions
  readonly #configFile: string
  readonly #logFile: string
  #process: LocalProcess | undefined

  constructor(
    binary: string,
    claimedPort: ClaimedPort,
    folder: TemporaryFolder,
    options: ServerOptions,
    certificates: TestCa | undefined,
  ) {
    this.port = claimedPort.port
    this.tls = certificates?.client
    this.#binary = binary
    this.#claimedPort = claimedPort
    this.#folder = folder
    this.#options = options
    this.#configFile = join(folder.path, 'redis.conf')
    this.#logFile = join(folder.path, 'redis.log')
    this.url = this.#urlWith('', options.password)
    const { aof = false, password, users = [], tls, config: lines = [] } = options
    const tlsConfig = certificates && { files: certificates.server, mutual: tls === 'mutual' }
    const config = { port: this.port, folder: folder.path, aof, password, users, tls: tlsConfig, lines }
    writeFileSync(this.#configFile, redisConfig(config))
  }

  /** The url with name and password of one of `users`. */
  urlOf(name: string): string {
    const user = this.#options.users?.find((each) => each.name === name)
    if (!user) throw new Error(`redis-server on port ${this.port} was started without a user ${name}`)
    return this.#urlWith(name, user.password)
  }

  /** Of its process; `stopped` while it is paused. */
  get state(): ProcessState {
    return this.#process?.alive ? processState(this.#process.pid) : 'gone'
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
      ...(this.tls && { tls: readTls(this.tls) }),
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

  #urlWith(user: string, password: string | undefined): string {
    const scheme = this.#options.tls ? 'rediss' : 'redis'
    return `${scheme}://${credentials(user, password)}127.0.0.1:${this.port}/0`
  }

  async #spawn(): Promise<LocalProcess> {
    const log = openSync(this.#logFile, 'a')
    try {
      return await startProcess(this.#binary, [this.#configFile, ...(this.#options.args ?? [])], {
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

/** The part of a URL before the host. */
export function credentials(user: string, password: string | undefined): string {
  return password === undefined ? '' : `${encodeURIComponent(user)}:${encodeURIComponent(password)}@`
}

/** The files' content, as Node's TLS and ioredis take it. */
export function readTls(files: TlsFiles): { ca: string; cert: string; key: string } {
  const read = (path: string) => readFileSync(path, 'utf8')
  return { ca: read(files.ca), cert: read(files.cert), key: read(files.key) }
}

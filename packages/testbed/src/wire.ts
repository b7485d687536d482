import { Redis } from 'ioredis'
import type { RedisServer } from './redis-server.ts'
import { waitUntil } from './wait-until.ts'

/** Tells what clients send to some servers: everything but what scripts do there. Each command is its name, in lower case, and its arguments. */
export class Wire implements Disposable {
  readonly #servers: readonly Tapped[]

  private constructor(servers: readonly Tapped[]) {
    this.#servers = servers
  }

  static async tap(...servers: readonly RedisServer[]): Promise<Wire> {
    return new Wire(await Promise.all(servers.map((server) => Tapped.start(server.url))))
  }

  /** The commands that were sent while the work was done; of one server in their order. */
  async during(work: () => Promise<unknown>): Promise<string[][]> {
    await this.#upToNow()
    await work()
    return this.#upToNow()
  }

  /** Their names alone. */
  async namesDuring(work: () => Promise<unknown>): Promise<string[]> {
    const commands = await this.during(work)
    return commands.map(([name = '']) => name)
  }

  [Symbol.dispose](): void {
    for (const server of this.#servers) server.stop()
  }

  async #upToNow(): Promise<string[][]> {
    const each = await Promise.all(this.#servers.map((server) => server.upToNow()))
    return each.flat()
  }
}

/** A client, and another one that tells by `monitor` what the server is sent. */
export async function startMonitor(
  url: string,
): Promise<{ readonly client: Redis; readonly monitor: Redis }> {
  const client = new Redis(url)
  // A client that connects again would not be told any more, and say nothing of it.
  const monitor = new Redis(url, { retryStrategy: () => null })
  // Then all that they send by themselves when they connect is over.
  await Promise.all([client.ping(), monitor.ping()])
  const begun = monitor.call('MONITOR')
  // `client.monitor()` does so only when the answer has been read: what others send meanwhile may come with it, is taken for answers, too, and ends the connection.
  Object.assign(monitor, { status: 'monitoring' })
  await begun
  return { client, monitor }
}

class Tapped {
  readonly #client: Redis
  readonly #monitor: Redis
  readonly #commands: string[][] = []

  constructor(client: Redis, monitor: Redis) {
    this.#client = client
    this.#monitor = monitor
    monitor.on('monitor', (_: string, [name = '', ...args]: readonly string[], source: string) => {
      if (source !== 'lua') this.#commands.push([name.toLowerCase(), ...args])
    })
  }

  static async start(url: string): Promise<Tapped> {
    const { client, monitor } = await startMonitor(url)
    return new Tapped(client, monitor)
  }

  /** What came before this call: MONITOR tells of commands in the order in which they were carried out. */
  async upToNow(): Promise<string[][]> {
    await this.#client.echo('now')
    const find = (): number => this.#commands.findIndex(([name]) => name === 'echo')
    await waitUntil('MONITOR to tell of the ECHO', () => find() !== -1, { everyMs: 2 })
    return this.#commands.splice(0, find() + 1).slice(0, -1)
  }

  stop(): void {
    this.#monitor.disconnect()
    this.#client.disconnect()
  }
}

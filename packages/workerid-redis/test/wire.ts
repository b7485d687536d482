import { type RedisServer, waitUntil } from '@multinode/testbed'
import { Redis } from 'ioredis'

/** Tells what clients send to some servers: everything but what scripts do there. */
export class Wire implements AsyncDisposable {
  readonly #servers: readonly Tapped[]

  private constructor(servers: readonly Tapped[]) {
    this.#servers = servers
  }

  static async tap(servers: readonly RedisServer[]): Promise<Wire> {
    return new Wire(await Promise.all(servers.map((server) => Tapped.start(server.url))))
  }

  /** The names of the commands that were sent while the work was done. */
  async during(work: () => Promise<unknown>): Promise<string[]> {
    await this.#upToNow()
    await work()
    return this.#upToNow()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) server.stop()
  }

  async #upToNow(): Promise<string[]> {
    const each = await Promise.all(this.#servers.map((server) => server.upToNow()))
    return each.flat()
  }
}

class Tapped {
  readonly #client: Redis
  readonly #monitor: Redis
  readonly #names: string[] = []

  constructor(client: Redis, monitor: Redis) {
    this.#client = client
    this.#monitor = monitor
    monitor.on('monitor', (_: string, [name = '']: readonly string[], source: string) => {
      if (source !== 'lua') this.#names.push(name.toLowerCase())
    })
  }

  static async start(url: string): Promise<Tapped> {
    const client = new Redis(url)
    return new Tapped(client, await client.monitor())
  }

  /** What came before this call: MONITOR tells of commands in the order in which they were carried out. */
  async upToNow(): Promise<string[]> {
    await this.#client.echo('now')
    await waitUntil('MONITOR to tell of the ECHO', () => this.#names.includes('echo'), { everyMs: 2 })
    return this.#names.splice(0, this.#names.indexOf('echo') + 1).slice(0, -1)
  }

  stop(): void {
    this.#monitor.disconnect()
    this.#client.disconnect()
  }
}

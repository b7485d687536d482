import { type RedisServer, waitUntil } from '@multinode/testbed'
import { Redis } from 'ioredis'

/** Tells what clients send to a server: the names of the commands, in order, without what scripts do there. */
export class Wire implements Disposable {
  readonly #client: Redis
  readonly #monitor: Redis
  readonly #names: string[] = []

  private constructor(client: Redis, monitor: Redis) {
    this.#client = client
    this.#monitor = monitor
    monitor.on('monitor', (_: string, [name = '']: readonly string[], source: string) => {
      if (source !== 'lua') this.#names.push(name.toLowerCase())
    })
  }

  /** Before anybody else connects: a client in MONITOR mode stumbles over what comes with its first answer. */
  static async tap(server: RedisServer): Promise<Wire> {
    const client = new Redis(server.url)
    return new Wire(client, await client.monitor())
  }

  /** The commands that were sent while the work was done. */
  async during(work: () => Promise<unknown>): Promise<string[]> {
    await this.#upToNow()
    await work()
    return this.#upToNow()
  }

  [Symbol.dispose](): void {
    this.#monitor.disconnect()
    this.#client.disconnect()
  }

  /** What came before this call: MONITOR tells of commands in the order in which they were carried out. */
  async #upToNow(): Promise<string[]> {
    await this.#client.echo('now')
    await waitUntil('MONITOR to tell of the ECHO', () => this.#names.includes('echo'), { everyMs: 2 })
    return this.#names.splice(0, this.#names.indexOf('echo') + 1).slice(0, -1)
  }
}

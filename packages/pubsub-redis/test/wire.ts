import { type RedisServer, waitUntil } from '@multinode/testbed'
import { Redis } from 'ioredis'

/** Tells what clients send to a server: everything but what scripts do there. */
export class Wire implements Disposable {
  readonly #client: Redis
  readonly #monitor: Redis
  readonly #commands: string[][] = []

  private constructor(client: Redis, monitor: Redis) {
    this.#client = client
    this.#monitor = monitor
    monitor.on('monitor', (_: string, command: readonly string[], source: string) => {
      const [name = '', ...args] = command
      if (source !== 'lua') this.#commands.push([name.toLowerCase(), ...args])
    })
  }

  static async tap(server: RedisServer): Promise<Wire> {
    const client = new Redis(server.url)
    return new Wire(client, await client.monitor())
  }

  /** The commands that were sent while the work was done, in order. */
  async during(work: () => Promise<unknown>): Promise<string[][]> {
    await this.#upToNow()
    await work()
    return this.#upToNow()
  }

  [Symbol.dispose](): void {
    this.#monitor.disconnect()
    this.#client.disconnect()
  }

  /** What came before this call: MONITOR tells of commands in the order in which they were carried out. */
  async #upToNow(): Promise<string[][]> {
    await this.#client.echo('now')
    const find = (): number => this.#commands.findIndex(([name]) => name === 'echo')
    await waitUntil('MONITOR to tell of the ECHO', () => find() !== -1, { everyMs: 2 })
    return this.#commands.splice(0, find() + 1).slice(0, -1)
  }
}

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** Stands between clients and a server of this machine, and counts how often somebody sends after being answered: for calls that are made one after the other, their round trips. */
export class CountedTurns implements AsyncDisposable {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #count = 0

  private constructor(port: number) {
    this.#server = createServer({ noDelay: true }, (client) => this.#link(client, port))
  }

  static async before(port: number): Promise<CountedTurns> {
    const turns = new CountedTurns(port)
    turns.#server.listen(0, '127.0.0.1')
    await once(turns.#server, 'listening')
    return turns
  }

  get count(): number {
    return this.#count
  }

  get url(): string {
    return `redis://127.0.0.1:${this.#port}`
  }

  get #port(): number {
    const address: AddressInfo | string | null = this.#server.address()
    if (address === null || typeof address === 'string') throw new Error('it does not listen on a port')
    return address.port
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #link(client: Socket, port: number): void {
    const server = connect({ port, host: '127.0.0.1', noDelay: true })
    let isAnswered = true
    client.on('data', () => {
      if (isAnswered) this.#count += 1
      isAnswered = false
    })
    server.on('data', () => {
      isAnswered = true
    })
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(from)
      from.pipe(to)
      // Whoever closes it, does so in the middle of something.
      from.on('error', () => to.destroy())
      from.on('close', () => this.#sockets.delete(from))
    }
  }
}

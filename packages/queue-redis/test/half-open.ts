import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'

/** A relay in front of a Redis, some of whose links can be made half-open, as after the loss of a router, while others go on. */
export class HalfOpen implements AsyncDisposable {
  readonly url: string
  readonly #server: Server
  readonly #links: Link[]

  private constructor(url: string, server: Server, links: Link[]) {
    this.url = url
    this.#server = server
    this.#links = links
  }

  static async start(url: string): Promise<HalfOpen> {
    const relayed = new URL(url)
    const target = { port: Number(relayed.port), host: relayed.hostname }
    const links: Link[] = []
    const server = createServer({ noDelay: true }, (client) => {
      links.push(new Link(client, connect({ ...target, noDelay: true })))
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('it listens on no port')
    relayed.port = String(address.port)
    return new HalfOpen(relayed.href, server, links)
  }

  /** How many links there were so far. */
  get count(): number {
    return this.#links.length
  }

  /** How many bytes were swallowed. */
  get swallowed(): number {
    return this.#links.reduce((sum, { swallowed }) => sum + swallowed, 0)
  }

  /** The links from that one on, in the order in which they were made, carry nothing any more. Later ones do. */
  silence(from: number): void {
    for (const link of this.#links.slice(from)) link.isSilent = true
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const link of this.#links) link.destroy()
    await closed
  }
}

class Link {
  isSilent = false
  swallowed = 0
  readonly #sockets: readonly Socket[]

  constructor(client: Socket, upstream: Socket) {
    this.#sockets = [client, upstream]
    for (const socket of this.#sockets) {
      socket.on('error', () => {})
      socket.on('close', () => this.destroy())
    }
    upstream.on('data', (chunk) => this.#pass(chunk, client))
    client.on('data', (chunk) => this.#pass(chunk, upstream))
  }

  destroy(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  #pass(chunk: Buffer, to: Socket): void {
    if (this.isSilent) this.swallowed += chunk.length
    else to.write(chunk)
  }
}

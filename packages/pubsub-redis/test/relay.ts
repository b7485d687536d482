import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'

/** What happens before and after one command reaches the server, while those behind it wait. */
export interface Stop {
  /** What commands that count contain. */
  readonly text: string
  /** Which one of these from now on, beginning with 1. */
  readonly nth: number
  readonly before: () => Promise<unknown>
  readonly after: () => Promise<unknown>
}

/** A relay in front of a Redis, for faults that hit one command of a pipeline, or all links that are there but none that comes later. */
export class Relay implements AsyncDisposable {
  readonly url: string
  readonly #server: Server
  readonly #links: Set<Link>
  readonly #gate: Gate

  private constructor(url: string, server: Server, links: Set<Link>, gate: Gate) {
    this.url = url
    this.#server = server
    this.#links = links
    this.#gate = gate
  }

  static async start(url: string): Promise<Relay> {
    const relayed = new URL(url)
    const target = { port: Number(relayed.port), host: relayed.hostname }
    const gate = new Gate()
    const links = new Set<Link>()
    const server = createServer({ noDelay: true }, (client) => {
      links.add(new Link(client, connect({ ...target, noDelay: true }), gate))
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('it listens on no port')
    relayed.port = String(address.port)
    return new Relay(relayed.href, server, links, gate)
  }

  /** Resolves when it has happened. */
  stopAt(stop: Stop): Promise<void> {
    return this.#gate.stopAt(stop)
  }

  /** The links that are there now stay open and carry nothing any more: half-open, as after the loss of a router. */
  silence(): void {
    for (const link of this.#links) link.isSilent = true
  }

  reset(): void {
    for (const link of this.#links) link.destroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.reset()
    await closed
  }
}

class Link {
  isSilent = false
  readonly #sockets: readonly [Socket, Socket]
  #passing: Promise<unknown> = Promise.resolve()

  constructor(client: Socket, upstream: Socket, gate: Gate) {
    this.#sockets = [client, upstream]
    for (const socket of this.#sockets) {
      socket.on('error', () => {})
      socket.on('close', () => this.destroy())
    }
    upstream.on('data', (chunk) => {
      if (!this.isSilent) client.write(chunk)
    })
    client.on('data', (chunk) => {
      if (this.isSilent) return
      this.#passing = this.#passing.then(() => gate.pass(chunk, (part) => upstream.write(part)))
    })
  }

  destroy(): void {
    for (const socket of this.#sockets) socket.destroy()
  }
}

class Gate {
  #stop: Stop | undefined
  #done: () => void = () => {}
  #count = 0

  stopAt(stop: Stop): Promise<void> {
    this.#stop = stop
    this.#count = 0
    return new Promise((resolve) => {
      this.#done = resolve
    })
  }

  async pass(chunk: Buffer, write: (part: Buffer) => void): Promise<void> {
    for (const command of commandsIn(chunk)) {
      const stop = this.#stop
      if (stop !== undefined && command.includes(stop.text)) this.#count += 1
      if (stop === undefined || this.#count < stop.nth) {
        write(command)
        continue
      }
      this.#stop = undefined
      await stop.before()
      write(command)
      await stop.after()
      this.#done()
    }
  }
}

/** Small commands come whole, because their client writes them at once. */
function commandsIn(chunk: Buffer): Buffer[] {
  const starts = [...chunk.toString('latin1').matchAll(/(?<=^|\r\n)\*\d+\r\n\$/g)].map(({ index }) => index)
  if (starts[0] !== 0) return [chunk]
  return starts.map((start, index) => chunk.subarray(start, starts[index + 1]))
}

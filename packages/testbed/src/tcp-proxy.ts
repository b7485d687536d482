import { once } from 'node:events'
import { createServer, connect, type Server, type Socket } from 'node:net'
import { DelayLine } from './delay-line.ts'
import { type ClaimedPort, claimPort } from './ports.ts'

interface Faults {
  refuse: boolean
  blackhole: boolean
  delayMs: number
  dropReply: ((chunk: Buffer) => boolean) | undefined
}

/** A proxy on a free loopback port in front of a loopback port, to put faults between client and server. */
export async function tcpProxy(targetPort: number): Promise<TcpProxy> {
  const claimedPort = await claimPort()
  const proxy = new TcpProxy(claimedPort, targetPort)
  try {
    await proxy.listen()
    return proxy
  } catch (error) {
    claimedPort.release()
    throw error
  }
}

export class TcpProxy {
  readonly port: number
  readonly #claimedPort: ClaimedPort
  readonly #server: Server
  readonly #links = new Set<Link>()
  readonly #faults: Faults = { refuse: false, blackhole: false, delayMs: 0, dropReply: undefined }

  constructor(claimedPort: ClaimedPort, targetPort: number) {
    this.port = claimedPort.port
    this.#claimedPort = claimedPort
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
      if (this.#faults.refuse) return void client.resetAndDestroy()
      const link = new Link(client, targetPort, this.#faults, () => this.#links.delete(link))
      this.#links.add(link)
    })
  }

  async listen(): Promise<void> {
    this.#server.listen(this.port, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  /** Cuts every connection with RST on both sides: ECONNRESET. New ones are let through. */
  reset(): void {
    for (const link of this.#links) link.reset()
  }

  /** Ends every connection with FIN on both sides: an orderly close, no error. New ones are let through. */
  fin(): void {
    for (const link of this.#links) link.fin()
  }

  /**
   * Swallows all bytes and all closes, both ways; connections stay open and silent, new ones are accepted
   * and silent too. When it is turned off, connections that lost something are reset, the others go on.
   */
  blackhole(on = true): void {
    this.#faults.blackhole = on
    if (on) return
    for (const link of this.#links) if (link.lostSomething) link.reset()
  }

  /** New connections are reset at once; those that are open stay. */
  refuse(on = true): void {
    this.#faults.refuse = on
  }

  /** Every chunk takes this much longer, in each direction; 0 ends it. The order is kept. */
  delay(ms: number): void {
    this.#faults.delayMs = ms
  }

  /**
   * Swallows the next chunk from the server that matches, then resets its connection: the server has
   * executed the command, and the client cannot know. Happens once.
   */
  dropReply(match: (chunk: Buffer) => boolean = () => true): void {
    this.#faults.dropReply = match
  }

  /** Ends all faults; see blackhole() for what it leaves. */
  heal(): void {
    Object.assign(this.#faults, { refuse: false, delayMs: 0, dropReply: undefined })
    this.blackhole(false)
  }

  /** How many connections its clients hold open. */
  connections(): number {
    return [...this.#links].filter((link) => link.clientIsOpen).length
  }

  /** Resets what is open, and stops listening. May be called twice. */
  async close(): Promise<void> {
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.reset()
    await closed
    this.#claimedPort.release()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** One client connection and its counterpart to the server. */
class Link {
  /** Bytes or a close vanished in a blackhole: the two ends no longer agree. */
  lostSomething = false
  readonly #client: Socket
  readonly #server: Socket
  readonly #faults: Faults
  readonly #lines: readonly DelayLine[]

  constructor(client: Socket, targetPort: number, faults: Faults, onClosed: () => void) {
    this.#client = client
    this.#server = connect({ port: targetPort, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
    this.#faults = faults
    this.#lines = [this.#relay(client, this.#server), this.#relay(this.#server, client)]
    const closedIfBoth = () => {
      if (!this.#client.closed || !this.#server.closed) return
      for (const line of this.#lines) line.clear()
      onClosed()
    }
    client.on('close', closedIfBoth)
    this.#server.on('close', closedIfBoth)
  }

  get clientIsOpen(): boolean {
    return !this.#client.destroyed
  }

  reset(): void {
    for (const line of this.#lines) line.clear()
    this.#client.resetAndDestroy()
    this.#server.resetAndDestroy()
  }

  fin(): void {
    this.#client.end()
    this.#server.end()
  }

  #relay(from: Socket, to: Socket): DelayLine {
    const line = new DelayLine()
    const pass = (action: () => void) => {
      line.add(this.#faults.delayMs, () => {
        if (this.#faults.blackhole) this.lostSomething = true
        else action()
      })
    }
    from.on('data', (chunk) => {
      if (from === this.#server && this.#isReplyToDrop(chunk)) this.reset()
      else pass(() => write(chunk, from, to))
    })
    from.on('end', () => pass(() => to.end()))
    // 'close' follows, and says whether there was an error.
    from.on('error', () => {})
    from.on('close', (hadError) => {
      if (hadError) pass(() => to.resetAndDestroy())
    })
    return line
  }

  #isReplyToDrop(chunk: Buffer): boolean {
    if (this.#faults.blackhole || !this.#faults.dropReply?.(chunk)) return false
    this.#faults.dropReply = undefined
    return true
  }
}

function write(chunk: Buffer, from: Socket, to: Socket): void {
  if (!to.writable || to.write(chunk) || from.isPaused()) return
  from.pause()
  to.once('drain', () => from.resume())
}

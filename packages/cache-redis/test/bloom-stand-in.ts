import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { Redis } from 'ioredis'

type Word = Buffer

/**
 * A server that seems to have the commands of Bloom filters, in front of one that does not: exact sets take their place. It shows which commands are sent and what is made of
 * their replies, and nothing about how often such a filter is wrong.
 */
export class BloomStandIn implements AsyncDisposable {
  readonly #server = createServer((socket) => this.#serve(socket))
  readonly #real: Redis
  readonly #filters = new Map<string, Set<string>>()
  /** Those about filters that came, in their order. */
  readonly commands: string[] = []

  private constructor(url: string) {
    this.#real = new Redis(url)
  }

  static async start(url: string): Promise<BloomStandIn> {
    const standIn = new BloomStandIn(url)
    standIn.#server.listen(0, '127.0.0.1')
    await once(standIn.#server, 'listening')
    return standIn
  }

  get url(): string {
    const address = this.#server.address()
    if (address === null || typeof address === 'string') throw new Error('it does not listen')
    return `redis://127.0.0.1:${address.port}`
  }

  /** As an eviction does. */
  forget(): void {
    this.#filters.clear()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#real.disconnect()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #serve(socket: Socket): void {
    let unread = Buffer.alloc(0)
    let last = Promise.resolve()
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      unread = Buffer.concat([unread, chunk])
      for (let read = readCommand(unread); read !== undefined; read = readCommand(unread)) {
        const { words } = read
        unread = unread.subarray(read.end)
        last = last.then(async () => void socket.write(encode(await this.#answer(words))))
      }
    })
  }

  async #answer([name = Buffer.alloc(0), ...args]: readonly Word[]): Promise<unknown> {
    const [key = '', ...rest] = args.map(String)
    const command = name.toString().toLowerCase()
    if (command === 'hello') return new Error('NOPROTO unsupported protocol version')
    if (command === 'command' && key.toLowerCase() === 'info') return [['bf.add', -3]]
    if (command === 'unlink') for (const each of [key, ...rest]) this.#filters.delete(each)
    if (command === 'exists' && key.endsWith(':native')) return this.#filters.has(key) ? 1 : 0
    if (command.startsWith('bf.')) {
      this.commands.push(`${command} ${[key, ...rest].join(' ')}`)
      return this.#bloom(command, key, rest)
    }
    return this.#real.callBuffer(command, ...args).catch((error: unknown) => error)
  }

  #bloom(command: string, key: string, rest: readonly string[]): unknown {
    const filter = this.#filters.get(key)
    if (command === 'bf.reserve') {
      if (filter !== undefined) return new Error('ERR item exists')
      this.#filters.set(key, new Set())
      return 'OK'
    }
    if (command === 'bf.insert') {
      const items = rest.slice(rest.indexOf('items') + 1)
      if (filter === undefined) return new Error('ERR not found')
      return items.map((item) => (filter.has(item) ? 0 : filter.add(item) && 1))
    }
    return rest.map((item) => (filter?.has(item) === true ? 1 : 0))
  }
}

/** Undefined while it is not there as a whole. */
function readCommand(bytes: Buffer): { readonly words: Word[]; readonly end: number } | undefined {
  let at = 0
  const readNumber = (): number | undefined => {
    const lineEnd = bytes.indexOf('\r\n', at)
    if (lineEnd === -1) return undefined
    const number = Number(bytes.toString('latin1', at + 1, lineEnd))
    at = lineEnd + 2
    return number
  }
  const count = readNumber()
  if (count === undefined) return undefined
  const words: Word[] = []
  for (let index = 0; index < count; index += 1) {
    const length = readNumber()
    if (length === undefined || at + length + 2 > bytes.length) return undefined
    words.push(bytes.subarray(at, at + length))
    at += length + 2
  }
  return { words, end: at }
}

function encode(reply: unknown): Buffer {
  if (reply === null || reply === undefined) return Buffer.from('$-1\r\n')
  if (reply instanceof Error) return Buffer.from(`-${reply.message}\r\n`)
  if (typeof reply === 'number') return Buffer.from(`:${reply}\r\n`)
  if (Array.isArray(reply)) return Buffer.concat([Buffer.from(`*${reply.length}\r\n`), ...reply.map(encode)])
  const bytes = Buffer.isBuffer(reply) ? reply : Buffer.from(typeof reply === 'string' ? reply : '')
  return Buffer.concat([Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n')])
}

import { MultinodeError } from '../errors/multinode-error.ts'
import type { Clock } from '../runtime/clock.ts'
import type { FileDriver, StoredFile } from './cache-driver.ts'

interface Kept extends StoredFile {
  readonly untilMs: number
}

/** Of all files together, with what keeping one costs. */
const defaultMostBytes = 256 * 1_048_576
const overheadBytes = 500

/** The files of one cluster name in this process. None is dropped before its time, so when they are too large no further one is taken. */
export class MemoryFiles implements FileDriver {
  readonly #clock: Clock
  readonly #mostBytes: number
  readonly #files = new Map<string, Kept>()
  #bytes = 0

  constructor(clock: Clock, mostBytes: number = defaultMostBytes) {
    this.#clock = clock
    this.#mostBytes = mostBytes
  }

  async put(name: string, file: StoredFile, ttlMs: number | undefined): Promise<void> {
    const grows = (): number => costOf(name, file) - this.#costOfNow(name)
    if (this.#bytes + grows() > this.#mostBytes) this.#sweep()
    if (this.#bytes + grows() > this.#mostBytes) throw full(name, this.#mostBytes)
    this.#remove(name)
    this.#bytes += costOf(name, file)
    const untilMs = this.#clock.monotonicMs() + (ttlMs ?? Infinity)
    this.#files.set(name, { ...file, bytes: Buffer.from(file.bytes), untilMs })
  }

  async get(
    name: string,
    known: readonly string[],
  ): Promise<StoredFile | { readonly unchanged: string } | undefined> {
    const file = this.#files.get(name)
    if (file === undefined) return undefined
    if (this.#isOver(file)) {
      this.#remove(name)
      return undefined
    }
    const { bytes, etag, contentType } = file
    return known.includes(etag) ? { unchanged: etag } : { bytes: Buffer.from(bytes), etag, contentType }
  }

  async delete(name: string): Promise<void> {
    this.#remove(name)
  }

  #isOver({ untilMs }: Kept): boolean {
    return untilMs <= this.#clock.monotonicMs()
  }

  #costOfNow(name: string): number {
    const file = this.#files.get(name)
    return file === undefined ? 0 : costOf(name, file)
  }

  #remove(name: string): void {
    this.#bytes -= this.#costOfNow(name)
    this.#files.delete(name)
  }

  #sweep(): void {
    for (const [name, file] of this.#files) {
      if (this.#isOver(file)) this.#remove(name)
    }
  }
}

function costOf(name: string, { bytes, contentType }: StoredFile): number {
  return bytes.byteLength + (name.length + contentType.length) * 2 + overheadBytes
}

function full(name: string, mostBytes: number): MultinodeError {
  return new MultinodeError(
    'EXHAUSTED',
    `cache on memory: the files together may have ${mostBytes} bytes; ${JSON.stringify(name)} was not stored. Delete some, give them a ttl, or use a backend that is not this process.`,
    { capability: 'cache', backend: 'memory', outcome: 'not-sent' },
  )
}

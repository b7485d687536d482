import { hash } from 'node:crypto'
import type { Cache } from '@multinode/core'
import type { Order } from './orders.ts'
import type { SheetFiles } from './sheet-files.ts'
import { renderSheet } from './sheet.ts'

/** How long a sheet stays in the cache: those of old orders are rarely asked for. */
const ttlMs = 86_400_000

export type SheetReply =
  | { readonly status: 'found'; readonly png: Buffer; readonly etag: string }
  | { readonly status: 'unchanged'; readonly etag: string }

export interface SheetsParts {
  readonly cached: Cache['files']
  /** How long the cache may take: the folder is slower than that only when something is wrong with it. */
  readonly patienceMs: number
  readonly stored: SheetFiles
  readonly report: (message: string) => void
}

/**
 * The sheets, which any node serves, whichever printed them: from the cache; where that has lost them or is away, from the folder; where that has none, drawn again.
 * Their ETag is made of their bytes, so it is the same wherever they come from.
 */
export class Sheets {
  readonly #parts: SheetsParts
  #isInTrouble = false

  constructor(parts: SheetsParts) {
    this.#parts = parts
  }

  /** Draws and stores it; may be called twice for one order. Without the cache it is stored all the same. */
  async print(order: Order): Promise<void> {
    const png = await renderSheet(order)
    await this.#parts.stored.write(order.id, png)
    await this.#keep(order, png)
  }

  /**
   * Of an order that was printed.
   * @param ifNoneMatch the header, as it came
   */
  async serve(order: Order, ifNoneMatch: string | undefined): Promise<SheetReply> {
    const { cached, patienceMs } = this.#parts
    const file = await this.#ask(cached.get(nameOf(order), { ifNoneMatch, timeoutMs: patienceMs }))
    if (file?.status === 'unchanged') return file
    if (file !== undefined) return { status: 'found', png: file.bytes, etag: file.etag }
    const png = await this.#restore(order)
    void this.#keep(order, png)
    const etag = `"${hash('sha256', png, 'hex')}"`
    return namesEtag(ifNoneMatch, etag) ? { status: 'unchanged', etag } : { status: 'found', png, etag }
  }

  async #restore(order: Order): Promise<Buffer> {
    return (await this.#parts.stored.read(order.id)) ?? renderSheet(order)
  }

  async #keep(order: Order, png: Buffer): Promise<void> {
    const { cached, patienceMs } = this.#parts
    const options = { contentType: 'image/png', ttlMs, timeoutMs: patienceMs }
    await this.#ask(cached.put(nameOf(order), png, options))
  }

  /** @returns undefined when the cache is away or slow, which is the same news with every sheet */
  async #ask<T>(asked: Promise<T>): Promise<T | undefined> {
    try {
      const answer = await asked
      this.#isInTrouble = false
      return answer
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      if (!this.#isInTrouble) this.#parts.report(`Sheets come from the folder: ${reason}`)
      this.#isInTrouble = true
      return undefined
    }
  }
}

function nameOf({ id }: Order): string {
  return `sheet:${id}`
}

/** By the weak comparison that RFC 9110 prescribes for this header. */
function namesEtag(header: string | undefined, etag: string): boolean {
  const named = (header ?? '').split(',').map((each) => each.trim().replace(/^W\//, ''))
  return named.includes('*') || named.includes(etag)
}

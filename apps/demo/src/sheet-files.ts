import { randomUUID } from 'node:crypto'
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'

/** Older than this, a temporary file belongs to nobody any more. */
const abandonedAfterMs = 3_600_000

/** The printed sheets, one PNG per order, in a folder that the nodes share. */
export class SheetFiles {
  readonly #folder: string

  constructor(dataFolder: string) {
    this.#folder = path.join(dataFolder, 'sheets')
    mkdirSync(this.#folder, { recursive: true })
    removeAbandoned(this.#folder)
  }

  /** Appears at once and whole, also after a crash; a sheet that is there already is replaced. */
  async write(orderId: string, png: Buffer): Promise<void> {
    const temporary = `${this.#file(orderId)}.${randomUUID()}.tmp`
    try {
      await writeFile(temporary, png, { flush: true })
      await rename(temporary, this.#file(orderId))
    } catch (error) {
      await rm(temporary, { force: true }).catch(ignoreAfterFailure)
      throw error
    }
  }

  async read(orderId: string): Promise<Buffer> {
    return readFile(this.#file(orderId))
  }

  #file(orderId: string): string {
    return path.join(this.#folder, `${orderId}.png`)
  }
}

/** Of processes that were killed while they wrote. */
function removeAbandoned(folder: string): void {
  for (const name of readdirSync(folder)) {
    if (!name.endsWith('.tmp')) continue
    const file = path.join(folder, name)
    const stats = statSync(file, { throwIfNoEntry: false })
    if (stats !== undefined && Date.now() - stats.mtimeMs > abandonedAfterMs) rmSync(file, { force: true })
  }
}

/** The write has failed already, with its own reason. */
function ignoreAfterFailure(): void {}

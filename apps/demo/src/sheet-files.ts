import { randomUUID } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'

/** Older than this, a temporary file belongs to nobody any more. */
const abandonedAfterMs = 3_600_000

/** The printed sheets, one PNG per order, in a folder that the nodes share. */
export class SheetFiles {
  readonly #folder: string

  constructor(dataFolder: string) {
    this.#folder = path.join(dataFolder, 'sheets')
    mkdirSync(this.#folder, { recursive: true })
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

  /** @returns undefined when there is none */
  async read(orderId: string): Promise<Buffer | undefined> {
    try {
      return await readFile(this.#file(orderId))
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  }

  /**
   * Removes what processes left that were killed while they wrote.
   * @returns how many files it removed
   */
  async removeAbandoned(signal: AbortSignal): Promise<number> {
    let removed = 0
    for (const name of await readdir(this.#folder)) {
      signal.throwIfAborted()
      const file = path.join(this.#folder, name)
      if (!name.endsWith('.tmp') || !(await isAbandoned(file))) continue
      await rm(file, { force: true })
      removed += 1
    }
    return removed
  }

  #file(orderId: string): string {
    return path.join(this.#folder, `${orderId}.png`)
  }
}

async function isAbandoned(file: string): Promise<boolean> {
  try {
    return Date.now() - (await stat(file)).mtimeMs > abandonedAfterMs
  } catch (error) {
    // Whoever wrote it has just finished.
    if (isMissing(error)) return false
    throw error
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}

/** The write has failed already, with its own reason. */
function ignoreAfterFailure(): void {}

import { checkArray, checkCount, checkKey, checkKnownOptions } from '../runtime/check.ts'
import type { OpenLine } from './open-line.ts'
import type { DeadJob, Failure } from './queue-driver.ts'

/** A job that was given up, and why. */
export interface DeadLetter {
  readonly id: string
  /** As it was added, by whatever version of the app; text where it is no JSON. */
  readonly payload: unknown
  readonly headers: Readonly<Record<string, string>>
  readonly addedAtMs: number
  readonly failure: Failure
}

const mostAtOnce = 10_000

/** The jobs of one queue that were given up: kept until somebody makes them wait again, or purges them. */
export class DeadLetters {
  readonly #line: OpenLine
  readonly #checkOpen: () => void

  constructor(line: OpenLine, checkOpen: () => void) {
    this.#line = line
    this.#checkOpen = checkOpen
  }

  /** The oldest ones first. @param options limit: 1 to 10,000, default 100 */
  async list(options: { readonly limit?: number } = {}): Promise<DeadLetter[]> {
    checkKnownOptions('list', options, ['limit'])
    const limit = checkCount('limit', options.limit ?? 100, { min: 1, max: mostAtOnce })
    this.#checkOpen()
    const jobs = await this.#line.call('listing dead letters', (line, ms) => line.listDead(limit, ms))
    return jobs.map((job) => this.#toLetter(job))
  }

  /**
   * Makes jobs wait again, with all their attempts. Whenever it is interrupted, none is lost; one may then be both a dead letter and waiting.
   *
   * @param options ids: these only. limit: so many of the oldest ones, default 10,000
   * @returns how many
   */
  async redrive(
    options: { readonly ids?: readonly string[]; readonly limit?: number } = {},
  ): Promise<number> {
    checkKnownOptions('redrive', options, ['ids', 'limit'])
    const limit = checkCount('limit', options.limit ?? mostAtOnce, { min: 1, max: mostAtOnce })
    if (options.ids !== undefined) checkArray('ids', options.ids)
    for (const id of options.ids ?? []) checkKey('ids', id)
    this.#checkOpen()
    const choice = { limit, ...(options.ids === undefined ? {} : { ids: options.ids }) }
    return this.#line.call('redriving dead letters', (line, ms) => line.redrive(choice, ms))
  }

  /** Deletes all. @returns how many */
  async purge(): Promise<number> {
    this.#checkOpen()
    return this.#line.call('purging dead letters', (line, ms) => line.purgeDead(ms))
  }

  #toLetter({ record, failure }: DeadJob): DeadLetter {
    const { id, payload, headers, addedAtMs } = record
    return { id, payload: readPayload(payload), headers, addedAtMs, failure }
  }
}

/** What cannot be read is shown as it is: that may be why it is a dead letter. */
export function readPayload(text: string): unknown {
  try {
    return text === '' ? undefined : JSON.parse(text)
  } catch {
    return text
  }
}

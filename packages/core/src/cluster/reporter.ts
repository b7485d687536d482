import { reasonOf } from '../errors/to-driver-error.ts'
import { isMultinodeError, MultinodeError } from '../errors/multinode-error.ts'

export type ErrorListener = (error: MultinodeError) => void

/**
 * Where trouble goes that no caller is waiting for: to the listeners, else to `process.emitWarning`. Nothing that is
 * reported, and nothing that a listener throws or rejects with, ever crashes the process or keeps it from the others.
 */
export class Reporter {
  readonly #listeners = new Set<ErrorListener>()
  readonly #warnings: string[] = []

  get warnings(): readonly string[] {
    return [...this.#warnings]
  }

  on(listener: ErrorListener): void {
    this.#listeners.add(listener)
  }

  off(listener: ErrorListener): void {
    this.#listeners.delete(listener)
  }

  readonly report = (cause: unknown): void => {
    const error = isMultinodeError(cause)
      ? cause
      : new MultinodeError('INTERNAL', `Unexpected failure in the background: ${reasonOf(cause)}`, { cause })
    if (this.#listeners.size === 0) emitWarning(`${error.code}: ${error.message}`)
    for (const listener of this.#listeners) void tell(listener, error)
  }

  /** Said once per text. */
  readonly warn = (message: string): void => {
    if (this.#warnings.includes(message)) return
    this.#warnings.push(message)
    emitWarning(message)
  }
}

/** The listener may be an async function, although nobody waits for it. Called at once, never rejects. */
async function tell(listener: (error: MultinodeError) => unknown, error: MultinodeError): Promise<void> {
  try {
    await listener(error)
  } catch (thrown) {
    emitWarning(`An error listener failed: ${reasonOf(thrown)}`)
  }
}

function emitWarning(message: string): void {
  process.emitWarning(message, { type: 'MultinodeWarning' })
}

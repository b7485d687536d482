import { EventEmitter } from 'node:events'
import { reasonOf } from '../errors/driver-error.ts'
import { isMultinodeError, MultinodeError } from '../errors/multinode-error.ts'

export type ErrorListener = (error: MultinodeError) => void

/**
 * Where trouble goes that no caller is waiting for: to the listeners, else to `process.emitWarning`. Nothing that is
 * reported, and nothing that a listener throws, ever crashes the process.
 */
export class Reporter {
  readonly #emitter = new EventEmitter()
  readonly #warnings: string[] = []

  get warnings(): readonly string[] {
    return this.#warnings
  }

  on(listener: ErrorListener): void {
    this.#emitter.on('trouble', listener)
  }

  off(listener: ErrorListener): void {
    this.#emitter.off('trouble', listener)
  }

  readonly report = (cause: unknown): void => {
    const error = isMultinodeError(cause)
      ? cause
      : new MultinodeError('INTERNAL', `Unexpected failure in the background: ${reasonOf(cause)}`, { cause })
    try {
      if (!this.#emitter.emit('trouble', error)) emitWarning(`${error.code}: ${error.message}`)
    } catch (thrown) {
      emitWarning(`An error listener threw: ${reasonOf(thrown)}`)
    }
  }

  /** Said once per text. */
  readonly warn = (message: string): void => {
    if (this.#warnings.includes(message)) return
    this.#warnings.push(message)
    emitWarning(message)
  }
}

function emitWarning(message: string): void {
  process.emitWarning(message, { type: 'MultinodeWarning' })
}

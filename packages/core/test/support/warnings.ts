import { turn } from './outcome.ts'

/** The warnings of ours that the process emits while it is in use. */
export class Warnings implements Disposable {
  readonly #messages: string[] = []
  readonly #listener = (warning: Error): void => {
    if (warning.name === 'MultinodeWarning') this.#messages.push(warning.message)
  }

  constructor() {
    process.on('warning', this.#listener)
  }

  /** All so far; `process.emitWarning` tells its listeners on the next tick. */
  async messages(): Promise<readonly string[]> {
    await turn()
    return this.#messages
  }

  [Symbol.dispose](): void {
    process.off('warning', this.#listener)
  }
}

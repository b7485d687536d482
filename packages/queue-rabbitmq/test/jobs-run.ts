import { isMultinodeError, type Queue } from '@multinode/core'
import { waitUntil } from '@multinode/testbed'

/** What became of an `add`: acknowledged, surely not sent, or nobody knows. */
type Fate = 'added' | 'not-sent' | 'unknown'

/** Which jobs were added, and how often each of them ran. A job's payload is its number. */
export class JobsRun {
  readonly #fates: (Fate | undefined)[] = []
  readonly #runs = new Map<number, number>()
  /** In which order they were begun. */
  readonly order: number[] = []

  /** Adds the next one. Never rejects. @returns how long that took */
  async add(queue: Queue<number>, options: Parameters<Queue['add']>[1] = {}): Promise<number> {
    const index = this.#fates.push(undefined) - 1
    const startedAtMs = performance.now()
    try {
      await queue.add(index, options)
      this.#fates[index] = 'added'
    } catch (error) {
      this.#fates[index] = isMultinodeError(error) && error.outcome === 'not-sent' ? 'not-sent' : 'unknown'
    }
    return performance.now() - startedAtMs
  }

  /** For handlers. */
  ran(payload: number): void {
    this.order.push(payload)
    this.#runs.set(payload, (this.#runs.get(payload) ?? 0) + 1)
  }

  count(fate: Fate): number {
    return this.#fates.filter((each) => each === fate).length
  }

  get begun(): number {
    return this.#fates.length
  }

  get isSettled(): boolean {
    return !this.#fates.includes(undefined)
  }

  /** Acknowledged, and never run. */
  get lost(): number {
    return this.#having('added').filter((index) => !this.#runs.has(index)).length
  }

  /** Said not to have been sent, and run all the same. */
  get lies(): number {
    return this.#having('not-sent').filter((index) => this.#runs.has(index)).length
  }

  /** Of those that nobody knew of. */
  get unknownRun(): number {
    return this.#having('unknown').filter((index) => this.#runs.has(index)).length
  }

  /** Runs beyond the first one. */
  get again(): number {
    return [...this.#runs.values()].reduce((sum, count) => sum + count - 1, 0)
  }

  /** Resolves when all adds are settled and none of them is lost, at the latest after the deadline. */
  async allRan(deadlineMs = 30_000): Promise<void> {
    const isOver = (): boolean => this.isSettled && this.lost === 0
    await waitUntil('all to run', isOver, { deadlineMs }).catch(() => {})
  }

  toString(): string {
    const { again, lost, lies, unknownRun, begun } = this
    return (
      `${this.count('added')} of ${begun} acknowledged, lost ${lost}, ${again} run again, ` +
      `${this.count('unknown')} unknown of which ${unknownRun} ran, ${this.count('not-sent')} not sent of which ${lies} ran`
    )
  }

  #having(fate: Fate): number[] {
    return [...this.#fates.keys()].filter((index) => this.#fates[index] === fate)
  }
}

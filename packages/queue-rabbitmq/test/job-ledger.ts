/** Judges by what jobs carry: those that were acknowledged, less those that ran, are lost. */
export class JobLedger {
  readonly #acknowledged = new Map<string, number>()
  readonly #runs = new Map<string, number>()
  #lastAcknowledgedAtMs = -Infinity
  #lastBegunAtMs = -Infinity

  /** Its `add` has resolved. */
  acknowledge(job: string): void {
    this.#lastAcknowledgedAtMs = performance.now()
    this.#acknowledged.set(job, this.#lastAcknowledgedAtMs)
  }

  /** Its handler begins. */
  begin(): void {
    this.#lastBegunAtMs = performance.now()
  }

  /** Its handler has done its work, so many times. */
  ran(job: string, times = 1): void {
    this.#runs.set(job, (this.#runs.get(job) ?? 0) + times)
  }

  get acknowledged(): number {
    return this.#acknowledged.size
  }

  /** How many have run. */
  get done(): number {
    return this.#runs.size
  }

  /** Runs beyond the first one of each. */
  get duplicates(): number {
    return [...this.#runs.values()].reduce((sum, count) => sum + count - 1, 0)
  }

  get lost(): string[] {
    return [...this.#acknowledged.keys()].filter((job) => !this.#runs.has(job))
  }

  /** When those that are lost had been acknowledged. */
  get lostAtMs(): number[] {
    return this.lost.map((job) => this.#acknowledged.get(job) ?? NaN)
  }

  /** Ran without having been acknowledged. */
  get unacknowledged(): string[] {
    return [...this.#runs.keys()].filter((job) => !this.#acknowledged.has(job))
  }

  /** Whether one was acknowledged, and one begun, after that. */
  hasFlowedSince(atMs: number): boolean {
    return Math.min(this.#lastAcknowledgedAtMs, this.#lastBegunAtMs) > atMs
  }
}

import type { Member } from './pubsub-driver.ts'

/** What changed since the last call. */
export interface NodesChange {
  readonly nodes: readonly Member[]
  readonly joined: readonly Member[]
  readonly left: readonly Member[]
  /** Whether this node cannot say that it is there, so that the others take it for dead or do not know it: it was cut off, or could not join. */
  readonly isIsolated: boolean
}

export type NodesListener = (change: NodesChange) => void

/** Who is there, as the backend said last. */
export class Members {
  readonly #report: (error: unknown) => void
  readonly #listeners = new Set<NodesListener>()
  #nodes: readonly Member[] = []
  #isIsolated = false

  constructor(report: (error: unknown) => void) {
    this.#report = report
  }

  get nodes(): readonly Member[] {
    return this.#nodes
  }

  get isIsolated(): boolean {
    return this.#isIsolated
  }

  listen(listener: NodesListener): () => void {
    this.#listeners.add(listener)
    return () => {
      this.#listeners.delete(listener)
    }
  }

  become(nodes: readonly Member[]): void {
    const before = new Set(this.#nodes.map(({ incarnation }) => incarnation))
    const after = new Set(nodes.map(({ incarnation }) => incarnation))
    const joined = nodes.filter(({ incarnation }) => !before.has(incarnation))
    const left = this.#nodes.filter(({ incarnation }) => !after.has(incarnation))
    this.#nodes = nodes
    if (joined.length > 0 || left.length > 0) this.#tell(joined, left)
  }

  becomeIsolated(isIsolated: boolean): void {
    if (isIsolated === this.#isIsolated) return
    this.#isIsolated = isIsolated
    this.#tell([], [])
  }

  #tell(joined: readonly Member[], left: readonly Member[]): void {
    const change = { nodes: this.#nodes, joined, left, isIsolated: this.#isIsolated }
    for (const listener of this.#listeners) {
      try {
        listener(change)
      } catch (error) {
        this.#report(error)
      }
    }
  }
}

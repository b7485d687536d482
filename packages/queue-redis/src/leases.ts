import type { Clock } from '@multinode/core'

/** A worker of BullMQ. */
export interface HeldBy {
  /** Its lease is renewed no more. */
  giveUp(id: string): void
}

/** A job that this node has, from when it was taken until nothing more is sent about it. */
export interface Held {
  readonly id: string
  /** By our clock: after that somebody else may have the job. */
  heldUntilMs: number
  /** `running`: its handler has it. */
  state: 'running' | 'settling' | 'lost'
  readonly worker: HeldBy
}

/** Which jobs this node has, and for how long by its own clock, because a server that does not answer tells nothing. */
export class Leases {
  readonly #clock: Clock
  readonly #leaseMs: number
  readonly #held = new Map<string, Held>()

  constructor(clock: Clock, leaseMs: number) {
    this.#clock = clock
    this.#leaseMs = leaseMs
  }

  /** How many slots are taken: not those of jobs that are only on their way out, and late. */
  get busy(): number {
    return [...this.#held.values()].filter((held) => held.state !== 'settling' || !this.#isOverdue(held))
      .length
  }

  get settling(): number {
    return [...this.#held.values()].filter(({ state }) => state === 'settling').length
  }

  /** How many one worker has. */
  of(worker: HeldBy): number {
    return [...this.#held.values()].filter((each) => each.worker === worker).length
  }

  /** Whether a handler has it, also one that lost it. */
  isRunning(id: string): boolean {
    const state = this.#held.get(id)?.state
    return state === 'running' || state === 'lost'
  }

  get(id: string, worker: HeldBy): Held | undefined {
    const held = this.#held.get(id)
    return held?.worker === worker ? held : undefined
  }

  begin(id: string, worker: HeldBy, state: Held['state']): Held {
    const held = { id, heldUntilMs: this.#clock.monotonicMs() + this.#leaseMs, state, worker }
    this.#held.set(id, held)
    return held
  }

  renew(ids: readonly string[], worker: HeldBy, sentAtMs: number): void {
    for (const id of ids) {
      const held = this.get(id, worker)
      if (held !== undefined) held.heldUntilMs = sentAtMs + this.#leaseMs
    }
  }

  isHeld(held: Held | undefined): boolean {
    return held !== undefined && held.state !== 'lost' && !this.#isOverdue(held)
  }

  /** @returns whether it had not ended before */
  end(held: Held | undefined): boolean {
    return held !== undefined && this.#held.get(held.id) === held && this.#held.delete(held.id)
  }

  /** Those whose lease nobody has confirmed for too long. */
  overdue(): Held[] {
    return [...this.#held.values()].filter((held) => held.state !== 'lost' && this.#isOverdue(held))
  }

  #isOverdue({ heldUntilMs }: Held): boolean {
    return heldUntilMs <= this.#clock.monotonicMs()
  }
}

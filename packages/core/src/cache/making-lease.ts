import type { Timer } from '../runtime/clock.ts'
import type { NewEntry, Snapshot } from './cache-driver.ts'
import { reportDefect, type SpaceParts } from './space-parts.ts'

/** The right of this node to make one value: renewed while it does, and ended by storing the value or giving it up. */
export class MakingLease<T> {
  readonly #parts: SpaceParts<T>
  readonly #key: string
  readonly #owner: string
  readonly #snapshot: Snapshot
  #timer: Timer | undefined
  #isOver = false
  #released: Promise<void> | undefined

  constructor(parts: SpaceParts<T>, key: string, owner: string, snapshot: Snapshot) {
    this.#parts = parts
    this.#key = key
    this.#owner = owner
    this.#snapshot = snapshot
    this.#renewLater()
  }

  /** It ends by itself after `leaseMs` from now on. */
  stopRenewing(): void {
    this.#isOver = true
    this.#timer?.cancel()
  }

  /** Also for a lease that is not renewed any more: the backend knows whether it stands. */
  async fill(entry: NewEntry): Promise<'stored' | 'refused'> {
    this.stopRenewing()
    const { backend, space, settings } = this.#parts
    return backend.call('fill', settings.timeoutMs, (timeoutMs) =>
      space.fill(entry, this.#owner, this.#snapshot, timeoutMs),
    )
  }

  /** Others need not wait for this value. Never rejects: where it fails they wait until the lease has run out. */
  release(): Promise<void> {
    this.stopRenewing()
    this.#released ??= releaseLease(this.#parts, this.#key, this.#owner)
    return this.#released
  }

  #renewLater(): void {
    const { context, settings } = this.#parts
    const renew = (): void => void this.#renew()
    this.#timer = context.clock.setTimer(renew, settings.leaseMs / 3, 'background')
  }

  /** Never rejects. A lease that was lost is not renewed: storing the value will be refused. */
  async #renew(): Promise<void> {
    const { backend, space, settings } = this.#parts
    const deadlineMs = Math.min(settings.timeoutMs, Math.ceil(settings.leaseMs / 3))
    const isHeld = await backend
      .call('renew', deadlineMs, (timeoutMs) =>
        space.renew(this.#key, this.#owner, settings.leaseMs, timeoutMs),
      )
      .catch(() => true)
    if (isHeld && !this.#isOver) this.#renewLater()
  }
}

/** Never rejects. */
export async function releaseLease<T>(parts: SpaceParts<T>, key: string, owner: string): Promise<void> {
  const { backend, space, settings, context } = parts
  try {
    await backend.call('release', settings.timeoutMs, (timeoutMs) => space.release(key, owner, timeoutMs))
  } catch (error) {
    reportDefect(context, error)
  }
}

import { Locks } from '../../src/index.ts'
import { capabilityContext, ManualClock } from '../../src/testing/index.ts'
import { SteeredLock } from './steered-lock.ts'

type Answers = SteeredLock['answers']

/** The portable lock on a server that the test steers, with a clock that stands still. */
export class LocksOn {
  readonly clock = new ManualClock()
  readonly reported: unknown[] = []
  readonly lock: SteeredLock
  readonly locks: Locks

  constructor(
    answers: Answers = {},
    options: {
      readonly callTimeoutMs?: number
      readonly pushes?: boolean
      readonly plainOnly?: boolean
    } = {},
  ) {
    const { pushes = true, plainOnly = false, callTimeoutMs = 5_000 } = options
    this.lock = new SteeredLock(this.clock, answers, { pushes, plainOnly })
    this.locks = this.node(callTimeoutMs)
  }

  /** Another node on the same server. */
  node(callTimeoutMs = 5_000): Locks {
    const report = (error: unknown): void => {
      this.reported.push(error)
    }
    const context = capabilityContext('lock', 'steered', { clock: this.clock, callTimeoutMs, report })
    return new Locks(this.lock.driver, context)
  }

  /** Somebody else takes a key for as long as the test lasts. */
  occupy(key: string): void {
    this.lock.store.acquire({ key, owner: 'somebody', ttlMs: 3_600_000, waitMs: 0 })
  }

  vacate(key: string): void {
    this.lock.store.release(key, 'somebody')
  }

  isFree(key: string): boolean {
    const free =
      this.lock.store.acquire({ key, owner: 'inspector', ttlMs: 10, waitMs: 0 }).status === 'granted'
    if (free) this.lock.store.release(key, 'inspector')
    return free
  }
}

import type { Clock } from '../runtime/clock.ts'
import type { ExtendReply, FireReply, FireRequest, JobDriver, ReleaseReply } from './lock-driver.ts'

interface JobRecord {
  lastFireMs: number
  /** Who runs the last fire until `untilMs`; nobody when it is done. */
  owner: string | undefined
  token: number
  untilMs: number
}

/** The scheduled jobs of one cluster name in this process: the reference for what {@link JobDriver} means. */
export class MemoryJobs implements JobDriver {
  /** Of all stores, so that tokens grow also when a store ends and another of its name begins. */
  static #lastToken = 0

  readonly #clock: Clock
  readonly #records = new Map<string, JobRecord>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  async claim({ job, owner, scheduledAtMs, atMostMs, maxSkewMs }: FireRequest): Promise<FireReply> {
    const [nowMs, wallMs] = [this.#clock.monotonicMs(), this.#clock.wallMs()]
    if (scheduledAtMs > wallMs + maxSkewMs) return { status: 'early', backendMs: wallMs }
    const record = this.#records.get(job)
    if (record !== undefined && record.owner === owner && record.lastFireMs === scheduledAtMs) {
      record.untilMs = Math.max(record.untilMs, nowMs + atMostMs)
      return { status: 'run', token: record.token }
    }
    if (record !== undefined && scheduledAtMs <= record.lastFireMs) return { status: 'duplicate' }
    if (record !== undefined && record.untilMs > nowMs) {
      return { status: 'busy', retryAfterMs: Math.ceil(record.untilMs - nowMs) }
    }
    const token = Math.max(MemoryJobs.#lastToken + 1, Math.floor(wallMs * 1000))
    MemoryJobs.#lastToken = token
    this.#records.set(job, { lastFireMs: scheduledAtMs, owner, token, untilMs: nowMs + atMostMs })
    return { status: 'run', token }
  }

  async extend(job: string, owner: string, ttlMs: number): Promise<ExtendReply> {
    const record = this.#running(job)
    if (record === undefined) return 'expired'
    if (record.owner !== owner) return 'not-owner'
    record.untilMs = Math.max(record.untilMs, this.#clock.monotonicMs() + ttlMs)
    return 'extended'
  }

  async done(job: string, owner: string): Promise<ReleaseReply> {
    const record = this.#running(job)
    if (record === undefined) return 'expired'
    if (record.owner !== owner) return 'not-owner'
    record.untilMs = 0
    // A late copy of the claim must not begin the run again.
    record.owner = undefined
    return 'released'
  }

  #running(job: string): JobRecord | undefined {
    const record = this.#records.get(job)
    return record !== undefined && record.untilMs > this.#clock.monotonicMs() ? record : undefined
  }
}

import type { Delivery } from './queue-driver.ts'

/**
 * Why a handler should stop. `timeout`: its attempt is over. `lock-lost`: the job may run elsewhere. `shutdown`: this node ends. `cancelled`: somebody took it back.
 */
export type AbortReason = 'timeout' | 'lock-lost' | 'shutdown' | 'cancelled'

/** One attempt at a job, as its handler sees it. */
export class Job<T = unknown> {
  readonly id: string
  readonly queue: string
  readonly headers: Readonly<Record<string, string>>
  /** 1 for the first one. */
  readonly attempt: number
  readonly attemptsMax: number
  /** Whether a node had it before, this one or another: then part of its work may be done. */
  readonly redelivered: boolean
  /** When it was added, by the clock of the node that did, in ms since 1970. */
  readonly addedAtMs: number
  #payload: T
  readonly #onProgress: (value: unknown) => Promise<void>
  #abort: AbortController | undefined
  #reason: AbortReason | undefined

  constructor(
    queue: string,
    payload: T,
    { record, attempt, redelivered }: Delivery,
    onProgress: (value: unknown) => Promise<void>,
  ) {
    this.id = record.id
    this.queue = queue
    this.#payload = payload
    this.headers = record.headers
    this.attempt = attempt
    this.attemptsMax = record.attemptsMax
    this.redelivered = redelivered
    this.addedAtMs = record.addedAtMs
    this.#onProgress = onProgress
  }

  /** What was added, as the queue's schema reads it. */
  get payload(): T {
    return this.#payload
  }

  /** Aborted with an {@link AbortReason} as its `reason`. Pass it on to what the handler waits for. */
  get signal(): AbortSignal {
    // Most handlers never ask, and a controller costs as much as the rest of the job.
    this.#abort ??= new AbortController()
    if (this.#reason !== undefined) this.#abort.abort(this.#reason)
    return this.#abort.signal
  }

  /** Stores how far the job is, as JSON, for whoever looks it up. @throws `UNSUPPORTED` where the backend cannot */
  async progress(value: unknown): Promise<void> {
    await this.#onProgress(value)
  }

  /** @internal What the schema made of the payload. */
  read(payload: T): void {
    this.#payload = payload
  }

  /** @internal */
  abort(reason: AbortReason): void {
    this.#reason ??= reason
    this.#abort?.abort(this.#reason)
  }
}

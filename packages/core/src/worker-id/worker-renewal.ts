import { isMultinodeError, MultinodeError } from '../errors/multinode-error.ts'
import { reasonOf } from '../errors/to-driver-error.ts'
import type { CapabilityContext } from '../runtime/capability-context.ts'
import { now, type Timer } from '../runtime/clock.ts'
import type { DriverCalls } from '../runtime/driver-calls.ts'
import { randomBetween } from '../runtime/random.ts'
import type { RenewReply, WorkerIdDriver } from './worker-id-driver.ts'
import type { WorkerLease } from './worker-lease.ts'

export interface RenewalParts {
  readonly driver: WorkerIdDriver
  readonly calls: DriverCalls
  readonly context: CapabilityContext
}

/**
 * Renews a lease every third of it until stopped or lost. An attempt that failed is repeated within a second, for ever: the id becomes ours again
 * when the backend is back and nobody else had it. Attempts never overlap.
 */
export class WorkerRenewal {
  readonly #lease: WorkerLease
  readonly #parts: RenewalParts
  #timer: Timer | undefined
  #stopped = false
  /** 1 while this clock is too far ahead, -1 while it is too far behind. */
  #skewSaid = 0
  /** What was told last of failures that do not pass. */
  #trouble: string | undefined
  renewals = 0

  constructor(lease: WorkerLease, parts: RenewalParts) {
    this.#lease = lease
    this.#parts = parts
    this.#schedule(this.#everyMs)
  }

  /** No attempt starts after this; one that is under way changes nothing any more. */
  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
  }

  get #everyMs(): number {
    return this.#lease.grant.terms.leaseMs / 3
  }

  #schedule(delayMs: number): void {
    const renew = (): void => void this.#renew()
    this.#timer = this.#parts.context.clock.setTimer(renew, delayMs, 'background')
  }

  /** Never rejects: a lease that was not renewed says so itself. */
  async #renew(): Promise<void> {
    let delayMs = this.#everyMs
    try {
      const reply = await this.#ask()
      if (reply.status === 'later') delayMs = Math.min(delayMs, Math.max(1, reply.retryAfterMs))
    } catch (error) {
      if (!isMultinodeError(error) || !error.retryable) this.#tell(error)
      delayMs = Math.min(delayMs, randomBetween(500, 1_000))
    }
    if (!this.#stopped && !this.#lease.isOver) this.#schedule(delayMs)
  }

  async #ask(): Promise<RenewReply> {
    const { id, grant, usedMs, window } = this.#lease
    const { driver, calls, context } = this.#parts
    const timeoutMs = Math.min(context.callTimeoutMs, Math.max(50, Math.floor(this.#everyMs / 2)))
    const sentAt = now(context.clock)
    const { token, ownerKey, terms } = grant
    const request = {
      id,
      token,
      ownerKey,
      terms,
      usedMs,
      window,
      nowMs: Math.floor(sentAt.wallMs),
    }
    const reply = await calls.call('renew', timeoutMs, () => driver.renew(request, timeoutMs))
    if (this.#stopped) return reply
    if (reply.status === 'lost') this.#lease.lose()
    if (reply.status !== 'renewed') return reply
    this.renewals += 1
    this.#trouble = undefined
    this.#lease.renewed(reply, sentAt)
    this.#watchSkew(leastSkewMs(sentAt.wallMs, context.clock.wallMs(), reply.backendMs))
    return reply
  }

  /** Once, until it changes or the lease is renewed. */
  #tell(error: unknown): void {
    const trouble = reasonOf(error)
    if (trouble === this.#trouble) return
    this.#trouble = trouble
    this.#parts.context.report(error)
  }

  /** Said once for each time that it begins: ids stop when this clock is ahead, and carry an old time when it is behind. */
  #watchSkew(skewMs: number): void {
    const { terms } = this.#lease.grant
    const tooMuch = Math.abs(skewMs) > terms.maxSkewMs ? Math.sign(skewMs) : 0
    if (tooMuch !== 0 && tooMuch !== this.#skewSaid) {
      this.#parts.context.report(skewError(skewMs, terms.maxSkewMs))
    }
    this.#skewSaid = tooMuch
  }
}

/**
 * How far the clock of this node is ahead of the backend's, at least; negative when it is behind. A request that was under way for long, in a process that was
 * stopped meanwhile, says little about clocks.
 */
export function leastSkewMs(sentMs: number, receivedMs: number, backendMs: number): number {
  if (sentMs > backendMs) return Math.floor(sentMs - backendMs)
  return Math.ceil(Math.min(0, receivedMs - backendMs))
}

/** @param skewMs how far the clock of this node is ahead */
export function skewError(skewMs: number, maxSkewMs: number, backendMs?: number): MultinodeError {
  const direction = skewMs > 0 ? 'ahead of' : 'behind'
  const times =
    backendMs === undefined
      ? ''
      : ` (${new Date(backendMs + skewMs).toISOString()} here, ${new Date(backendMs).toISOString()} there)`
  return new MultinodeError(
    'CLOCK_SKEW',
    `The clock of this node is ${Math.abs(skewMs)} ms ${direction} that of the backend${times}; at most ${maxSkewMs} ms are ` +
      'allowed (maxSkewMs). Set the clocks, with NTP on both.',
    { capability: 'workerid', details: { skewMs, maxSkewMs } },
  )
}

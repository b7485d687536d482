import { isMultinodeError, MultinodeError } from '../errors/multinode-error.ts'
import { unsupported } from '../errors/unsupported.ts'
import type { CapabilityContext } from '../runtime/capability-context.ts'
import { checkDate, checkKey, checkKnownOptions, checkMs } from '../runtime/check.ts'
import { elapsedMs, type Instant, now } from '../runtime/clock.ts'
import { DriverCalls } from '../runtime/driver-calls.ts'
import { type Lease, minTtlMs, validityMs } from './lease.ts'
import type { LeaseKeeper } from './lease-keeper.ts'
import type { FireReply, FireRequest, JobDriver, LockDriver } from './lock-driver.ts'

export interface ClaimFireOptions {
  /** How long the job may run before another fire may begin, in ms, unless its lease is extended. */
  readonly atMostMs: number
  /** How far the fire may be ahead of the backend's clock, in ms. Default 60,000: a node whose clock is years ahead must not use up the schedule. */
  readonly maxSkewMs?: number
}

/**
 * `run`: this node runs it; `done()` when it is finished. `duplicate`: this fire, or a later one, was claimed before: nothing to do. `busy`: an
 * earlier fire still runs, for so long at most.
 */
export type FireClaim =
  | {
      readonly status: 'run'
      /** The fencing token: greater than that of every earlier run of this job. */
      readonly token: number
      /** Says when `atMostMs` is over (`signal`), and can be extended. */
      readonly lease: Lease
      /** Lets the next fire begin. Never rejects: what cannot be said is reported, and `atMostMs` runs out. */
      done(): Promise<void>
    }
  | { readonly status: 'duplicate' }
  | { readonly status: 'busy'; readonly retryAfterMs: number }

const defaultMaxSkewMs = 60_000

/** The whole of {@link Locks.claimFire}. */
export async function claimFire(
  job: string,
  scheduledAt: Date | number,
  options: ClaimFireOptions,
  { driver, keeper, context }: { driver: LockDriver; keeper: LeaseKeeper; context: CapabilityContext },
): Promise<FireClaim> {
  checkKnownOptions('claimFire', options, ['atMostMs', 'maxSkewMs'])
  const request = {
    job: checkKey('job', job),
    scheduledAtMs: checkDate('scheduledAt', scheduledAt),
    atMostMs: checkMs('atMostMs', options.atMostMs, { min: minTtlMs }),
    maxSkewMs: checkMs('maxSkewMs', options.maxSkewMs ?? defaultMaxSkewMs, { min: 0 }),
    owner: keeper.newOwner(),
  }
  keeper.assertOpen()
  const { jobs } = driver
  if (jobs === undefined) throw unsupported(context, 'scheduled jobs')
  const ending = new AbortController()
  const waiting = { key: request.job, end: (reason: MultinodeError) => ending.abort(reason) }
  return keeper.whileWaiting(waiting, claimOrUndo(request, ending.signal, { jobs, keeper, context }))
}

interface Parts {
  readonly jobs: JobDriver
  readonly keeper: LeaseKeeper
  readonly context: CapabilityContext
}

async function claimOrUndo(request: FireRequest, ending: AbortSignal, parts: Parts): Promise<FireClaim> {
  let reply: FireReply
  const known = { maybe: false }
  try {
    const answer = await Promise.race([ask(request, ending, known, parts), rejectedBy(ending)])
    reply = answer.reply
    if (reply.status === 'run') return toRun(request, reply.token, answer.sentAt, parts)
  } catch (error) {
    // It may be ours without our knowing: then the next fire must not wait for it.
    const { jobs, keeper } = parts
    if (known.maybe) {
      keeper.insistInBackground('done', (timeoutMs) => jobs.done(request.job, request.owner, timeoutMs))
    }
    throw error
  }
  if (reply.status === 'early') throw tooEarly(request, reply.backendMs)
  return reply
}

async function ask(
  request: FireRequest,
  ending: AbortSignal,
  known: { maybe: boolean },
  { jobs, context }: Parts,
): Promise<{ reply: FireReply; sentAt: Instant }> {
  const { clock } = context
  let sentAt = now(clock)
  const claim = async (timeoutMs: number): Promise<FireReply> => {
    sentAt = now(clock)
    const wasKnown = known.maybe
    known.maybe = true
    try {
      return await jobs.claim(request, timeoutMs)
    } catch (error) {
      if (isMultinodeError(error) && error.outcome === 'not-sent') known.maybe = wasKnown
      throw error
    }
  }
  // Repeated with the same owner, which gives the same answer: a lost one must not cost the fire.
  const reply = await new DriverCalls(context).insist('claimFire', claim, () => !ending.aborted)
  if (reply.status !== 'run' || elapsedMs(clock, sentAt) < validityMs(request.atMostMs)) {
    return { reply, sentAt }
  }
  throw new MultinodeError('TIMEOUT', `The claim of ${describe(request)} was answered after its atMostMs.`, {
    capability: 'lock',
    backend: context.backend,
    outcome: 'unknown',
  })
}

function rejectedBy(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}

function toRun(
  { job, owner, atMostMs }: FireRequest,
  token: number,
  sentAt: Instant,
  { jobs, keeper, context }: Parts,
): FireClaim {
  const verbs = {
    extend: (key: string, by: string, ttlMs: number, timeoutMs: number) =>
      jobs.extend(key, by, ttlMs, timeoutMs),
    release: (key: string, by: string, timeoutMs: number) => jobs.done(key, by, timeoutMs),
  }
  const grant = { key: job, token, ttlMs: atMostMs, sentAt }
  const lease = keeper.keep({ key: job, driverKey: job, verbs }, owner, grant)
  return {
    status: 'run',
    token,
    lease,
    done: async () => {
      await lease.release().catch(context.report)
    },
  }
}

function tooEarly(request: FireRequest, backendMs: number): MultinodeError {
  return new MultinodeError(
    'CLOCK_SKEW',
    `${describe(request)} is ${request.scheduledAtMs - backendMs} ms ahead of the backend's clock, more than ` +
      `${request.maxSkewMs} ms (maxSkewMs): check the clock of this node.`,
    { capability: 'lock', details: { job: request.job, backendMs, maxSkewMs: request.maxSkewMs } },
  )
}

function describe({ job, scheduledAtMs }: FireRequest): string {
  return `The fire of ${JSON.stringify(job)} at ${new Date(scheduledAtMs).toISOString()}`
}

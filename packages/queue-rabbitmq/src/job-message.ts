import type { BackoffSettings, DeadReason, Failure, JobPriority, JobRecord } from '@multinode/core'
import type { Message } from 'amqplib'
import is from '@sindresorhus/is'

/** A job as it is in a queue, alive or dead. */
export interface QueuedJob {
  readonly record: JobRecord
  readonly priority: JobPriority
  /** 1 for the first one. */
  readonly attempt: number
  /** How often it was taken by a worker that ended without settling it. */
  readonly crashes: number
  readonly wasStarted: boolean
  /** Of a delay longer than the delay line: how much is left when it comes out. */
  readonly restMs: number
  /** Of a dead letter. */
  readonly failure: Failure | undefined
}

/** The first line of a message, in short names, because there may be millions; the payload follows as it is. */
interface Facts {
  readonly v: 1
  readonly a: number
  readonly m: number
  readonly b: readonly [BackoffSettings['type'], delayMs: number, maxDelayMs: number, jitter: number]
  readonly h?: Readonly<Record<string, string>>
  readonly t?: number
  readonly e?: number
  readonly p?: 'high' | 'low'
  readonly n?: number
  readonly c?: number
  readonly s?: 1
  readonly w?: number
  readonly f?: Failure
}

/** Headers are in the content too: as those of AMQP they had narrow limits, and some would steer the server. */
export function toContent(job: QueuedJob): Buffer {
  const { record, priority, attempt, crashes, wasStarted, restMs, failure } = job
  const { headers, addedAtMs, attemptsMax, backoff, timeoutMs, expiresAtMs } = record
  const facts: Facts = {
    v: 1,
    a: addedAtMs,
    m: attemptsMax,
    b: [backoff.type, backoff.delayMs, backoff.maxDelayMs, backoff.jitter],
    ...(is.emptyObject(headers) ? {} : { h: headers }),
    ...(timeoutMs === undefined ? {} : { t: timeoutMs }),
    ...(expiresAtMs === undefined ? {} : { e: expiresAtMs }),
    ...(priority === 'normal' ? {} : { p: priority }),
    ...(attempt === 1 ? {} : { n: attempt }),
    ...(crashes === 0 ? {} : { c: crashes }),
    ...(wasStarted ? { s: 1 } : {}),
    ...(restMs === 0 ? {} : { w: restMs }),
    ...(failure === undefined ? {} : { f: failure }),
  }
  return Buffer.from(`${JSON.stringify(facts)}\n${record.payload}`)
}

/** `undefined` when somebody else wrote it, or a later version. */
export function readJob({ content, properties }: Message): QueuedJob | undefined {
  const end = content.indexOf(10)
  const facts = end === -1 ? undefined : parsed(content.toString('utf8', 0, end))
  const id: unknown = properties.messageId
  if (!isFacts(facts) || !is.nonEmptyString(id)) return undefined
  const [type, delayMs, maxDelayMs, jitter] = facts.b
  const ended = deliveryCount(properties.headers)
  return {
    record: {
      id,
      payload: content.toString('utf8', end + 1),
      headers: facts.h ?? {},
      addedAtMs: facts.a,
      attemptsMax: facts.m,
      backoff: { type, delayMs, maxDelayMs, jitter },
      timeoutMs: facts.t,
      expiresAtMs: facts.e,
    },
    priority: facts.p ?? 'normal',
    attempt: facts.n ?? 1,
    crashes: (facts.c ?? 0) + ended,
    wasStarted: facts.s === 1 || ended > 0,
    restMs: facts.w ?? 0,
    failure: facts.f,
  }
}

/** What is there, for whoever looks at the dead letter that it is. */
export function unreadableJob({ content, properties }: Message, nowMs: number): QueuedJob {
  const id: unknown = properties.messageId
  return {
    record: {
      id: is.nonEmptyString(id) ? id : crypto.randomUUID(),
      payload: content.toString(),
      headers: {},
      addedAtMs: nowMs,
      attemptsMax: 1,
      backoff: { type: 'fixed', delayMs: 0, maxDelayMs: 0, jitter: 0 },
      timeoutMs: undefined,
      expiresAtMs: undefined,
    },
    priority: 'normal',
    attempt: 1,
    crashes: deliveryCount(properties.headers),
    wasStarted: false,
    restMs: 0,
    failure: undefined,
  }
}

/** Of a dead letter that the server made, because a policy of its operator says so. */
export function failureByServer(job: QueuedJob, { properties }: Message): Failure {
  const why: unknown = properties.headers?.['x-first-death-reason']
  const reason: DeadReason = why === 'delivery_limit' ? 'crashed' : 'failed'
  return {
    reason,
    name: 'Error',
    message: `RabbitMQ gave it up: ${is.string(why) ? why : 'it did not say why'}.`,
    stack: '',
    nodeId: '',
    attempts: job.attempt,
    atMs: job.record.addedAtMs,
  }
}

/** How often it was delivered and not settled: of quorum queues. */
function deliveryCount(headers: Readonly<Record<string, unknown>> | undefined): number {
  const count = headers?.['x-delivery-count']
  return is.number(count) ? count : 0
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function isFacts(value: unknown): value is Facts {
  if (!is.plainObject(value) || value['v'] !== 1) return false
  const { a, m, b, h, t, e, p, n, c, w, f } = value
  return (
    is.number(a) &&
    is.number(m) &&
    isBackoff(b) &&
    (h === undefined || (is.plainObject(h) && Object.values(h).every((each) => is.string(each)))) &&
    [t, e, n, c, w].every((each) => each === undefined || is.number(each)) &&
    (p === undefined || p === 'high' || p === 'low') &&
    (f === undefined || isFailure(f))
  )
}

function isBackoff(value: unknown): boolean {
  if (!is.array(value) || value.length !== 4) return false
  const [type, ...numbers] = value
  return (type === 'fixed' || type === 'exponential') && numbers.every((each) => is.number(each))
}

function isFailure(value: unknown): value is Failure {
  return (
    is.plainObject(value) &&
    is.oneOf(['failed', 'unrecoverable', 'crashed', 'invalid'])(value['reason']) &&
    [value['name'], value['message'], value['stack'], value['nodeId']].every((each) => is.string(each)) &&
    is.number(value['attempts']) &&
    is.number(value['atMs'])
  )
}

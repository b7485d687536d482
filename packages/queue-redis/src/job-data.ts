import type { BackoffSettings, Failure, JobRecord } from '@multinode/core'
import is from '@sindresorhus/is'

/** What is stored as the data of a job: its record, in short names, because there may be millions. */
export interface JobData {
  readonly v: 1
  readonly p: string
  readonly h?: Readonly<Record<string, string>>
  readonly a: number
  readonly m: number
  readonly b: readonly [BackoffSettings['type'], delayMs: number, maxDelayMs: number, jitter: number]
  readonly t?: number
  readonly e?: number
}

export function toJobData(record: JobRecord): JobData {
  const { payload, headers, addedAtMs, attemptsMax, backoff, timeoutMs, expiresAtMs } = record
  return {
    v: 1,
    p: payload,
    ...(is.emptyObject(headers) ? {} : { h: headers }),
    a: addedAtMs,
    m: attemptsMax,
    b: [backoff.type, backoff.delayMs, backoff.maxDelayMs, backoff.jitter],
    ...(timeoutMs === undefined ? {} : { t: timeoutMs }),
    ...(expiresAtMs === undefined ? {} : { e: expiresAtMs }),
  }
}

/** `undefined` when somebody else wrote it, or a later version. */
export function readJobData(id: string, data: unknown): JobRecord | undefined {
  if (!isJobData(data)) return undefined
  const [type, delayMs, maxDelayMs, jitter] = data.b
  return {
    id,
    payload: data.p,
    headers: data.h ?? {},
    addedAtMs: data.a,
    attemptsMax: data.m,
    backoff: { type, delayMs, maxDelayMs, jitter },
    timeoutMs: data.t,
    expiresAtMs: data.e,
  }
}

/** What is there, for whoever looks at the dead letter that it is. */
export function unreadableRecord(id: string, data: unknown, addedAtMs: number): JobRecord {
  return {
    id,
    payload: JSON.stringify(data) ?? '',
    headers: {},
    addedAtMs,
    attemptsMax: 1,
    backoff: { type: 'fixed', delayMs: 0, maxDelayMs: 0, jitter: 0 },
    timeoutMs: undefined,
    expiresAtMs: undefined,
  }
}

/** BullMQ's own text when the workers of a job ended too often. */
const crashedText = 'job stalled more than allowable limit'

/** From what BullMQ keeps as the reason: our failure as JSON, or a text of its own. */
export function readFailure(
  text: string,
  about: { readonly attempts: number; readonly atMs: number },
): Failure {
  const known = parsed(text)
  if (isFailure(known)) return known
  const reason = text === crashedText ? 'crashed' : 'failed'
  const message = reason === 'crashed' ? 'Its workers ended, or lost their lease, too often.' : text
  return { reason, name: 'Error', message, stack: '', nodeId: '', ...about }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
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

function isJobData(value: unknown): value is JobData {
  if (!is.plainObject(value) || value['v'] !== 1 || !is.string(value['p'])) return false
  const { h, a, m, b, t, e } = value
  return (
    (h === undefined || (is.plainObject(h) && Object.values(h).every((each) => is.string(each)))) &&
    [a, m].every((each) => is.number(each)) &&
    [t, e].every((each) => each === undefined || is.number(each)) &&
    is.array(b) &&
    (b[0] === 'fixed' || b[0] === 'exponential') &&
    b.slice(1).every((each) => is.number(each)) &&
    b.length === 4
  )
}

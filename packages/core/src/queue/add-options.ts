import is from '@sindresorhus/is'
import { MultinodeError } from '../errors/multinode-error.ts'
import { unsupported } from '../errors/unsupported.ts'
import type { CapabilityContext } from '../runtime/capability-context.ts'
import {
  checkChoice,
  checkDate,
  checkKey,
  checkKnownOptions,
  checkMs,
  checkString,
} from '../runtime/check.ts'
import type { JobPriority, JobRecord, NewJob, QueueFeatures } from './queue-driver.ts'
import { type JobPolicy, longestMs, policyNames, type QueueSettings, readPolicy } from './queue-options.ts'

/** What holds for one job: its own policy before that of its queue. */
export interface AddOptions extends JobPolicy {
  /** Not before so many ms from now. */
  readonly delayMs?: number
  /** Not before that moment, by the clock of this node. */
  readonly runAt?: Date
  /** Only in a queue with `priorities`. Default `normal`. */
  readonly priority?: JobPriority
  /** Of jobs with one key only the first one is added: until it is done, or for `ttlMs`. */
  readonly dedupe?: { readonly key: string; readonly ttlMs?: number }
  /** Travel with the job, as trace contexts do. */
  readonly headers?: Readonly<Record<string, string>>
}

const optionNames: readonly (keyof AddOptions)[] = [
  ...policyNames,
  'delayMs',
  'runAt',
  'priority',
  'dedupe',
  'headers',
]

/** Has no UTF-8 form, so that another value would arrive. */
const loneSurrogate = /\p{Surrogate}/u

const noHeaders: Readonly<Record<string, string>> = Object.freeze({})

export interface AddContext {
  readonly queue: string
  readonly settings: QueueSettings
  readonly features: QueueFeatures
  readonly context: CapabilityContext
}

/** Checks everything that can be known before the backend is asked. */
export function newJob(payload: unknown, options: AddOptions, to: AddContext): NewJob {
  checkKnownOptions('add', options, optionNames)
  const { settings, context } = to
  const addedAtMs = context.clock.wallMs()
  const { attemptsMax, backoff, timeoutMs, expiresInMs } = readPolicy(options, settings.policy)
  const record = {
    id: crypto.randomUUID(),
    payload: toJson(payload),
    headers: options.headers === undefined ? noHeaders : readHeaders(options.headers),
    addedAtMs,
    attemptsMax,
    backoff,
    timeoutMs,
    expiresAtMs: expiresInMs === undefined ? undefined : addedAtMs + expiresInMs,
  }
  checkSize(record, to)
  return {
    record,
    delayMs: readDelay(options, addedAtMs),
    priority: readPriority(options, to),
    dedupe: readDedupe(options, to),
  }
}

/** As it was after whoever traces put in what is to travel with it. */
export function withHeaders(job: NewJob, headers: Readonly<Record<string, string>>, to: AddContext): NewJob {
  const record = { ...job.record, headers: readHeaders(headers) }
  checkSize(record, to)
  return { ...job, record }
}

function readDelay({ delayMs, runAt }: AddOptions, nowMs: number): number {
  if (delayMs !== undefined && runAt !== undefined) {
    throw invalid('runAt', 'delayMs and runAt are both given: which of them counts?')
  }
  if (runAt !== undefined) return Math.max(0, checkDate('runAt', runAt) - nowMs)
  return checkMs('delayMs', delayMs ?? 0, { min: 0, max: longestMs })
}

function readPriority({ priority }: AddOptions, { queue, settings }: AddContext): JobPriority {
  if (priority === undefined) return 'normal'
  if (settings.hasPriorities) return checkChoice('priority', priority, ['high', 'normal', 'low'])
  throw invalid(
    'priority',
    `The queue ${queue} has no priorities: say { priorities: true } where it is made.`,
  )
}

function readDedupe({ dedupe }: AddOptions, { features, context }: AddContext): NewJob['dedupe'] {
  if (dedupe === undefined) return undefined
  checkKnownOptions('dedupe', dedupe, ['key', 'ttlMs'])
  if (!features.dedupe) throw unsupported(context, 'dedupe')
  const { key, ttlMs } = dedupe
  return {
    key: checkKey('dedupe.key', key),
    ttlMs: ttlMs === undefined ? undefined : checkMs('dedupe.ttlMs', ttlMs, { min: 1 }),
  }
}

function readHeaders(headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  checkKnownOptions('headers', headers, Object.keys(headers))
  for (const [name, value] of Object.entries(headers)) {
    checkKey('a name in headers', name)
    checkString(`headers.${name}`, value)
    if (loneSurrogate.test(value)) throw invalid(`headers.${name}`, `headers.${name} has a lone surrogate.`)
  }
  return { ...headers }
}

/** What has no JSON form is an error, and not silently `null` or left out as a whole. */
export function toJson(payload: unknown): string {
  if (ArrayBuffer.isView(payload) || payload instanceof ArrayBuffer) {
    throw invalid('payload', 'The payload is bytes: store them, and add a job that says where they are.')
  }
  if (payload === undefined) return ''
  try {
    const text: unknown = JSON.stringify(payload)
    // JSON has no NaN, no infinite numbers and no invalid dates, and says `null` instead.
    if (is.string(text) && (text !== 'null' || payload === null)) return text
  } catch (error) {
    throw invalid('payload', 'The payload has no JSON form.', error)
  }
  throw invalid('payload', `The payload is of type ${is(payload)}, which has no JSON form.`)
}

function checkSize(record: Pick<JobRecord, 'payload' | 'headers'>, to: AddContext): void {
  const bytes = bytesOf(record.payload) + headerBytes(record.headers)
  if (bytes > to.features.maxBytes) throw tooLarge(to, bytes)
}

function bytesOf(text: string): number {
  return Buffer.byteLength(text)
}

function headerBytes(headers: Readonly<Record<string, string>>): number {
  if (headers === noHeaders) return 0
  return Object.entries(headers).reduce((sum, [name, value]) => sum + bytesOf(name) + bytesOf(value), 0)
}

function tooLarge({ queue, features, context }: AddContext, bytes: number): MultinodeError {
  return new MultinodeError(
    'TOO_LARGE',
    `A job for ${queue} has ${bytes} bytes, and ${features.maxBytes} are allowed: store what it is about, and add where that is.`,
    {
      capability: 'queue',
      backend: context.backend,
      outcome: 'not-sent',
      details: { queue, bytes, most: features.maxBytes },
    },
  )
}

function invalid(name: string, message: string, cause?: unknown): MultinodeError {
  return new MultinodeError('INVALID_ARGUMENT', message, {
    capability: 'queue',
    details: { name },
    ...(cause === undefined ? {} : { cause }),
  })
}

import { isMultinodeError, MultinodeError, type Outcome } from '@multinode/core'
import type { ErrorCode } from '@multinode/core'

/** What the first word of an error reply means. All these are refusals: the command was not carried out. */
const refusals: Readonly<Record<string, { code: ErrorCode; advice: string }>> = {
  NOAUTH: { code: 'MISCONFIGURED', advice: 'The server wants a password: put it into the address.' },
  WRONGPASS: { code: 'MISCONFIGURED', advice: 'User or password are wrong.' },
  NOPERM: {
    code: 'MISCONFIGURED',
    advice: 'The ACL user lacks a permission: see the README for those needed.',
  },
  READONLY: { code: 'UNAVAILABLE', advice: 'This server is a replica; a failover may be under way.' },
  LOADING: { code: 'UNAVAILABLE', advice: 'The server is loading its data; try again.' },
  MASTERDOWN: { code: 'UNAVAILABLE', advice: 'The replica has lost its master; try again.' },
  CLUSTERDOWN: { code: 'UNAVAILABLE', advice: 'The cluster is not complete; try again.' },
  TRYAGAIN: { code: 'UNAVAILABLE', advice: 'A slot is being moved; try again.' },
  BUSY: { code: 'UNAVAILABLE', advice: 'A script blocks the server.' },
  OOM: { code: 'EXHAUSTED', advice: 'The server is out of memory: raise maxmemory or remove data.' },
}

export interface RedisErrorOrigin {
  /** Without secrets. */
  readonly address: string
  readonly operation: string
  /** What is true of the command if the reply does not say. */
  readonly outcome: Outcome
}

/** The one place where native errors become ours. The original is the `cause`, without the command's arguments. */
export function toRedisError(error: unknown, origin: RedisErrorOrigin): MultinodeError {
  if (isMultinodeError(error)) return error
  const native = error instanceof Error ? error : new Error(String(error))
  const refusal = isReplyError(native) ? refusals[firstWord(native.message)] : undefined
  const code = refusal?.code ?? (isReplyError(native) ? codeOfReply(native.message) : 'UNAVAILABLE')
  const advice = refusal?.advice ?? (code === 'UNAVAILABLE' ? 'It is reconnected in the background.' : '')
  return new MultinodeError(
    code,
    `Redis at ${origin.address}: ${origin.operation} failed: ${native.message.replace(/\.+$/, '')}. ${advice}`.trim(),
    {
      backend: 'redis',
      outcome: refusal === undefined ? origin.outcome : 'not-sent',
      cause: withoutArguments(native),
      details: { address: origin.address, operation: origin.operation },
    },
  )
}

/** Errors that no further attempt to connect will mend. */
export function isFatalForConnect(error: Error): boolean {
  return (
    ['NOAUTH', 'WRONGPASS', 'NOPERM'].includes(firstWord(error.message)) ||
    /^ERR (invalid DB index|DB index is out of range)/.test(error.message)
  )
}

export function isNoScript(error: unknown): boolean {
  return error instanceof Error && firstWord(error.message) === 'NOSCRIPT'
}

function codeOfReply(message: string): ErrorCode {
  if (/^ERR unknown (sub)?command/i.test(message)) return 'UNSUPPORTED'
  if (/^ERR (invalid DB index|DB index is out of range)/.test(message)) return 'MISCONFIGURED'
  return 'REJECTED'
}

function isReplyError(error: Error): boolean {
  return error.name === 'ReplyError'
}

function firstWord(message: string): string {
  return message.split(' ', 1)[0] ?? ''
}

/** ioredis hangs the command with all its arguments on its errors: those of the login hold the password. */
function withoutArguments(error: Error): Error {
  const copy = new Error(error.message)
  copy.name = error.name
  if (error.stack !== undefined) copy.stack = error.stack
  return copy
}

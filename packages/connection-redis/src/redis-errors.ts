import { type ErrorCode, isMultinodeError, MultinodeError, type Outcome } from '@multinode/core'

interface Meaning {
  readonly code: ErrorCode
  readonly advice: string
}

const lacksPermission: Meaning = {
  code: 'MISCONFIGURED',
  advice: 'The ACL user lacks a permission: see the README for those needed.',
}
const slotMoves: Meaning = { code: 'UNAVAILABLE', advice: 'A slot is being moved; try again.' }
const connectionLost: Meaning = { code: 'UNAVAILABLE', advice: 'It is reconnected in the background.' }

/** What the first word of an error reply means. */
const meaningOfWord: Readonly<Record<string, Meaning>> = {
  NOAUTH: { code: 'MISCONFIGURED', advice: 'The server wants a password: put it into the address.' },
  WRONGPASS: { code: 'MISCONFIGURED', advice: 'User or password are wrong.' },
  NOPERM: lacksPermission,
  READONLY: { code: 'UNAVAILABLE', advice: 'This server is a replica; a failover may be under way.' },
  LOADING: { code: 'UNAVAILABLE', advice: 'The server is loading its data; try again.' },
  MASTERDOWN: { code: 'UNAVAILABLE', advice: 'The replica has lost its master; try again.' },
  UNBLOCKED: { code: 'UNAVAILABLE', advice: 'This server became a replica meanwhile; it is reconnected.' },
  NOREPLICAS: {
    code: 'UNAVAILABLE',
    advice: 'Too few replicas follow this server (min-replicas-to-write), or it was replaced; try again.',
  },
  CLUSTERDOWN: { code: 'UNAVAILABLE', advice: 'The cluster is not complete; try again.' },
  TRYAGAIN: slotMoves,
  MOVED: slotMoves,
  ASK: slotMoves,
  BUSY: { code: 'UNAVAILABLE', advice: 'A script blocks the server.' },
  MISCONF: { code: 'UNAVAILABLE', advice: 'The server cannot store its data: see its log.' },
  OOM: { code: 'EXHAUSTED', advice: 'The server is out of memory: raise maxmemory or remove data.' },
}

/** What other error replies mean, which all begin with `ERR`. */
const meaningOfText: readonly (readonly [RegExp, Meaning])[] = [
  [
    /^ERR This instance has cluster support disabled/,
    { code: 'MISCONFIGURED', advice: 'It is a single server: write redis:// instead of redis+cluster://.' },
  ],
  // Before and since Redis 8.
  [/^ERR (.*\bThe user executing the script can't|ACL failure in script:)/, lacksPermission],
  [/^ERR .*\bunknown (redis |sub)?command/i, { code: 'UNSUPPORTED', advice: 'Use a server that has it.' }],
  [
    /^ERR (invalid DB index|DB index is out of range)/,
    { code: 'MISCONFIGURED', advice: 'Name a database that the server has.' },
  ],
]

const noTls: Meaning = {
  code: 'MISCONFIGURED',
  advice: 'The server speaks no TLS there: write redis instead of rediss, or name its TLS port.',
}
const wantsCertificate: Meaning = {
  code: 'MISCONFIGURED',
  advice: 'The server does not take our certificate: give one with tls_cert_file and tls_key_file.',
}
const wrongName: Meaning = {
  code: 'MISCONFIGURED',
  advice: 'The certificate is for another host: name that host, or give tls_server_name.',
}
const untrusted: Meaning = {
  code: 'MISCONFIGURED',
  advice: 'The certificate of the server is not trusted: give the file of its authority as tls_ca_file.',
}

/** What the codes of failed TLS handshakes mean that no further attempt will mend. */
const meaningOfTlsCode: readonly (readonly [RegExp, Meaning])[] = [
  [/^ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG)$/, noTls],
  [
    /^ERR_SSL_\w*ALERT_(CERTIFICATE_REQUIRED|UNKNOWN_CA|BAD_CERTIFICATE|HANDSHAKE_FAILURE)$/,
    wantsCertificate,
  ],
  [/^ERR_TLS_CERT_ALTNAME_INVALID$/, wrongName],
  [/^(CERT_|SELF_SIGNED_|DEPTH_ZERO_|UNABLE_TO_(GET|VERIFY)_)/, untrusted],
]

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
  const native = rootOf(error instanceof Error ? error : new Error(String(error)))
  const isReply = native.name === 'ReplyError'
  const known = isReply ? meaningOfReply(native.message) : (meaningOfTls(native) ?? meaningOfClient(native))
  const { code, advice } = known ?? { code: 'REJECTED', advice: '' }
  // A refusal inside a script may come after the script's first write, and one of WAIT after what it waits for.
  const isRefused = isReply && known !== undefined && !/^UNBLOCKED\b|\buser_script\b/.test(native.message)
  return new MultinodeError(
    code,
    `Redis at ${origin.address}: ${origin.operation} failed: ${reasonOf(native)}. ${advice}`.trim(),
    {
      backend: 'redis',
      outcome: isRefused || isUnwritten(native) ? 'not-sent' : origin.outcome,
      cause: withoutArguments(native),
      details: { address: origin.address, operation: origin.operation },
    },
  )
}

/**
 * What an error says, without what was sent: a server quotes the arguments of a command that it does not know, and those of
 * a login are secret. A host name with several addresses fails with several errors, of which the first one is told.
 */
export function reasonOf(error: Error): string {
  const { message } = rootOf(error)
  return message.replace(/,? with args beginning with:.*/s, '').replace(/[.\s]+$/, '')
}

/** Errors that no further attempt to connect will mend. */
export function isFatalForConnect(error: Error): boolean {
  const root = rootOf(error)
  const meaning = root.name === 'ReplyError' ? meaningOfReply(root.message) : meaningOfTls(root)
  return meaning?.code === 'MISCONFIGURED'
}

export function isNoScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT ')
}

/** Refused before anything was done, by a Cluster that has lost a slot or a majority: often for a moment. */
export function isClusterDown(error: unknown): boolean {
  return error instanceof Error && error.name === 'ReplyError' && error.message.startsWith('CLUSTERDOWN ')
}

/** A Cluster client says only that all nodes failed, and hangs the last reason on it. */
function rootOf(error: Error): Error {
  const [first]: readonly unknown[] = error instanceof AggregateError ? error.errors : []
  const inner = 'lastNodeError' in error ? error.lastNodeError : first
  return inner instanceof Error ? inner : error
}

function meaningOfTls(error: Error): Meaning | undefined {
  const code = 'code' in error ? String(error.code) : ''
  return meaningOfTlsCode.find(([pattern]) => pattern.test(code))?.[1]
}

function meaningOfClient({ message }: Error): Meaning {
  return message.startsWith('Too many Cluster redirections') ? slotMoves : connectionLost
}

function meaningOfReply(message: string): Meaning | undefined {
  // Before Redis 7 an error inside a script is wrapped: `ERR Error running script (..): @user_script:3: .. -OOM command ..`.
  const word = /^ERR Error running script .*: -([A-Z]+) /.exec(message)?.[1] ?? message.split(' ', 1)[0] ?? ''
  return meaningOfWord[word] ?? meaningOfText.find(([pattern]) => pattern.test(message))?.[1]
}

/** ioredis refuses so, before it writes, when the socket is closing. */
export function isUnwritten(error: Error): boolean {
  return error.message.startsWith("Stream isn't writeable")
}

/** ioredis hangs the command with all its arguments on its errors: those of the login hold the password. */
function withoutArguments(error: Error): Error {
  const reason = reasonOf(error)
  if (reason === error.message && !('command' in error)) return error
  const copy = new Error(reason)
  copy.name = error.name
  // When it is asked for: to write a stack down costs more than all else of an error, and in an outage there are thousands.
  Object.defineProperty(copy, 'stack', {
    configurable: true,
    get: () => error.stack?.replace(error.message, () => reason),
  })
  return copy
}

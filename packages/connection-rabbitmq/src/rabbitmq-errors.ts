import { type ErrorCode, isMultinodeError, MultinodeError, type Outcome } from '@multinode/core'

interface Meaning {
  readonly code: ErrorCode
  readonly advice: string
}

const connectionLost: Meaning = { code: 'UNAVAILABLE', advice: 'It is reconnected in the background.' }
const tooLarge: Meaning = { code: 'TOO_LARGE', advice: 'Send less, or only where the data is.' }
const ourDefect: Meaning = { code: 'INTERNAL', advice: 'This is a defect: please report it with the cause.' }

/** What a reply code of the server means, where its text says more than the code. The first that matches counts. */
const meaningOfText: readonly (readonly [code: number, text: RegExp, meaning: Meaning])[] = [
  [403, /Login was refused/, { code: 'MISCONFIGURED', advice: 'User or password are wrong.' }],
  [403, /in exclusive use/, { code: 'UNAVAILABLE', advice: 'Another consumer has the queue; try again.' }],
  [
    404,
    /home node .* is down/s,
    { code: 'UNAVAILABLE', advice: 'It comes back with the server that has it; try again.' },
  ],
  [
    406,
    /inequivalent arg/,
    { code: 'MISCONFIGURED', advice: 'It exists with other arguments: use those, or delete it.' },
  ],
  [406, /message size|larger than/, tooLarge],
  [
    406,
    /acknowledgement on channel .* timed out/,
    { code: 'LOST', advice: 'The delivery was not settled within consumer_timeout of the server.' },
  ],
  [406, /unknown delivery tag/, ourDefect],
  [
    406,
    /offset|segment|partition|replica on the local node/,
    { code: 'UNAVAILABLE', advice: 'The queue is changing its leader; try again.' },
  ],
]

const meaningOfCode: Readonly<Record<number, Meaning>> = {
  311: tooLarge,
  320: connectionLost,
  403: { code: 'MISCONFIGURED', advice: 'The user lacks a permission: see the README for those needed.' },
  404: { code: 'NOT_FOUND', advice: 'Declare it first.' },
  405: {
    code: 'UNAVAILABLE',
    advice: 'It belongs to another connection, which may be a dead one of ours; try again.',
  },
  406: { code: 'REJECTED', advice: '' },
  501: ourDefect,
  502: ourDefect,
  503: ourDefect,
  504: ourDefect,
  505: ourDefect,
  506: { code: 'EXHAUSTED', advice: 'The server is out of a resource: see its log.' },
  530: { code: 'REJECTED', advice: '' },
  540: { code: 'UNSUPPORTED', advice: 'Use a server that has it.' },
  541: { code: 'UNAVAILABLE', advice: 'The queue may have just lost its leader; try again.' },
}

const noTls: Meaning = {
  code: 'MISCONFIGURED',
  advice: 'The server speaks no TLS there: write amqp instead of amqps, or name its TLS port.',
}
const wantsTls: Meaning = {
  code: 'MISCONFIGURED',
  advice: 'The server speaks TLS there: write amqps instead of amqp, or name its plain port.',
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

/** What the codes of failed handshakes mean that no further attempt will mend. */
const meaningOfErrorCode: readonly (readonly [RegExp, Meaning])[] = [
  [/^ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG)$/, noTls],
  [
    /^ERR_SSL_\w*ALERT_(CERTIFICATE_REQUIRED|UNKNOWN_CA|BAD_CERTIFICATE|HANDSHAKE_FAILURE)$/,
    wantsCertificate,
  ],
  [/^ERR_TLS_CERT_ALTNAME_INVALID$/, wrongName],
  [/^(CERT_|SELF_SIGNED_|DEPTH_ZERO_|UNABLE_TO_(GET|VERIFY)_)/, untrusted],
  [/^MULTINODE_WANTS_TLS$/, wantsTls],
]

/** amqplib does not pass on what the server says when it refuses the vhost: 530 as a rule. */
const refusedVhost: Meaning = {
  code: 'MISCONFIGURED',
  advice: 'The vhost is not there, is not allowed to the user, or has all the connections that it may have.',
}

const methodNames: Readonly<Record<string, string>> = {
  '20,10': 'opening a channel',
  '40,10': 'declaring an exchange',
  '40,20': 'deleting an exchange',
  '40,30': 'binding an exchange',
  '50,10': 'declaring a queue',
  '50,20': 'binding a queue',
  '50,30': 'purging a queue',
  '50,40': 'deleting a queue',
  '60,10': 'setting the prefetch',
  '60,20': 'consuming',
  '60,30': 'cancelling a consumer',
  '60,40': 'publishing',
  '60,70': 'getting a message',
  '60,80': 'acknowledging a delivery',
  '60,90': 'rejecting a delivery',
  '60,120': 'rejecting a delivery',
}

export interface RabbitmqErrorOrigin {
  /** Without secrets. */
  readonly address: string
  readonly operation: string
  /** What is true of the operation if the reply does not say. */
  readonly outcome: Outcome
}

/** The one place where native errors become ours. The original is the `cause`. */
export function toRabbitmqError(error: unknown, origin: RabbitmqErrorOrigin): MultinodeError {
  if (isMultinodeError(error)) return error
  const native = rootOf(error instanceof Error ? error : new Error(String(error)))
  const { code, advice } = meaningOf(native)
  const replyCode = replyOf(native)?.code
  // What the server refuses with a reply of its own it has not done.
  const isRefused = replyCode !== undefined && replyCode !== 320 && replyCode !== 541
  return new MultinodeError(
    code,
    `RabbitMQ at ${origin.address}: ${origin.operation} failed: ${reasonOf(native)}. ${advice}`.trim(),
    {
      backend: 'rabbitmq',
      outcome: isRefused ? 'not-sent' : origin.outcome,
      cause: native,
      details: {
        address: origin.address,
        operation: origin.operation,
        ...(replyCode !== undefined && { replyCode }),
      },
    },
  )
}

/** What an error says, in the server's words where it has some. A host name with several addresses fails with several errors, of which the first one is told. */
export function reasonOf(error: Error): string {
  const root = rootOf(error)
  // OpenSSL puts a line of its own source code around it.
  const ofTls = 'library' in root && 'reason' in root ? String(root.reason) : undefined
  if (isRefusedVhost(root)) return 'the server refuses the vhost'
  const text = replyOf(root)?.text ?? ofTls ?? root.message
  return text.replace(/[.\s]+$/, '')
}

/** Errors that no further attempt to connect will mend. */
export function isFatalForConnect(error: Error): boolean {
  return meaningOf(rootOf(error)).code === 'MISCONFIGURED'
}

/** The operation for which the server closed a channel: it may be an earlier one than that which met the closed channel. */
export function closedBy(error: Error): string | undefined {
  if (!('classId' in error && 'methodId' in error)) return undefined
  return methodNames[`${String(error.classId)},${String(error.methodId)}`]
}

/** As amqplib tells a message that the server did not take. */
export function isNack(error: unknown): boolean {
  return error instanceof Error && error.message === 'message nacked'
}

function rootOf(error: Error): Error {
  const [first]: readonly unknown[] = error instanceof AggregateError ? error.errors : []
  return first instanceof Error ? first : error
}

function meaningOf(error: Error): Meaning {
  const reply = replyOf(error)
  if (reply !== undefined) {
    const said = meaningOfText.find(([code, text]) => code === reply.code && text.test(reply.text))
    return said?.[2] ?? meaningOfCode[reply.code] ?? { code: 'REJECTED', advice: '' }
  }
  if (isRefusedVhost(error)) return refusedVhost
  const errorCode = 'code' in error ? String(error.code) : ''
  return meaningOfErrorCode.find(([pattern]) => pattern.test(errorCode))?.[1] ?? meaningOfClient(error)
}

function isRefusedVhost({ message }: Error): boolean {
  return message.startsWith('Expected ConnectionOpenOk; got <ConnectionClose')
}

/** Of amqplib's own: it refuses values that it cannot encode before anything is sent. */
function meaningOfClient(error: Error): Meaning {
  if (error instanceof RangeError) return tooLarge
  if (error instanceof TypeError) return { code: 'INVALID_ARGUMENT', advice: '' }
  return connectionLost
}

/** amqplib gives it as text only: `Handshake terminated by server: 403 (ACCESS-REFUSED) with message "ACCESS_REFUSED - ..."`. */
function replyOf({ message }: Error): { code: number; text: string } | undefined {
  const [, code, text = ''] = /\b(\d{3}) \([A-Z-]+\) with message "(.*)"/s.exec(message) ?? []
  return code === undefined ? undefined : { code: Number(code), text }
}

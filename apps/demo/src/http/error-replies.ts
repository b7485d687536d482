import { type ErrorCode, isMultinodeError } from '@multinode/core'
import type { FastifyReply, FastifyRequest, FastifySchemaValidationError } from 'fastify'
import { ShopError, type ShopErrorCode } from '../shop-error.ts'

const shopStatuses: Readonly<Record<ShopErrorCode, number>> = {
  UNKNOWN_ITEM: 422,
  OUT_OF_STOCK: 409,
  TOO_MANY: 422,
  KEY_REUSED: 422,
  ITEM_NOT_FOUND: 404,
  ORDER_NOT_FOUND: 404,
  SHEET_NOT_READY: 409,
  PRINT_FAILED: 409,
  STALE_TOKEN: 503,
  DRAINING: 503,
}

/** What may be otherwise in a moment; any other code here is a mistake of this program. */
const clusterStatuses: Readonly<Partial<Record<ErrorCode, number>>> = {
  TIMEOUT: 503,
  UNAVAILABLE: 503,
  EXHAUSTED: 503,
  LOST: 503,
  ABORTED: 503,
  CLOSED: 503,
}

const frameworkCodes: Readonly<Record<number, string>> = {
  404: 'NOT_FOUND',
  413: 'TOO_LARGE',
  415: 'UNSUPPORTED_MEDIA_TYPE',
  503: 'UNAVAILABLE',
}

const sqliteBusy = 5
const retryAfterSeconds = 1
const maxShownLength = 80

interface ErrorReply {
  readonly status: number
  readonly code: string
  readonly message: string
}

/** The one place that turns an error into an answer: `{ error: { code, message } }`. */
export class ErrorReplies {
  readonly #report: (message: string) => void

  constructor(report: (message: string) => void) {
    this.#report = report
  }

  readonly send = (error: unknown, request: FastifyRequest, reply: FastifyReply): void => {
    const answer = toReply(error)
    if (answer.status === 500) this.#report(`${request.method} ${request.url}: ${stackOf(error)}`)
    send(reply, answer)
  }

  readonly sendNoSuchRoute = (request: FastifyRequest, reply: FastifyReply): void => {
    send(reply, {
      status: 404,
      code: 'NOT_FOUND',
      message: `There is no ${request.method} ${request.url.slice(0, maxShownLength)} here.`,
    })
  }
}

function send(reply: FastifyReply, { status, code, message }: ErrorReply): void {
  if (status === 503 || code === 'SHEET_NOT_READY') reply.header('retry-after', retryAfterSeconds)
  reply.code(status).send({ error: { code, message } })
}

function toReply(error: unknown): ErrorReply {
  if (error instanceof ShopError) {
    return { status: shopStatuses[error.code], code: error.code, message: error.message }
  }
  if (isMultinodeError(error)) {
    return { status: clusterStatuses[error.code] ?? 500, code: error.code, message: error.message }
  }
  if (isSqliteBusy(error)) {
    return { status: 503, code: 'UNAVAILABLE', message: 'Another process writes to the records: try again.' }
  }
  const status = frameworkStatus(error)
  if (status === undefined) {
    return { status: 500, code: 'INTERNAL', message: 'Something went wrong here; the log says what.' }
  }
  return { status, code: frameworkCodes[status] ?? 'INVALID_INPUT', message: messageOf(error) }
}

/** What fastify refuses by itself carries its status. */
function frameworkStatus(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('statusCode' in error)) return undefined
  const { statusCode } = error
  return typeof statusCode === 'number' && statusCode !== 500 ? statusCode : undefined
}

function isSqliteBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && Number(error.errcode) % 256 === sqliteBusy
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

/** Names the field, its value and what is accepted, which is the `description` in the schema. */
export function describeInvalid(errors: FastifySchemaValidationError[], part: string): Error {
  const [error] = errors
  if (error === undefined) return new Error(`${part} is not valid`)
  const field = part + error.instancePath
  if (error.keyword === 'additionalProperties') {
    return new Error(`${field} has the unknown property ${show(error.params['additionalProperty'])}`)
  }
  if (error.keyword === 'required') {
    return new Error(`${field} lacks the property ${show(error.params['missingProperty'])}`)
  }
  const { data, parentSchema } = { data: undefined, parentSchema: undefined, ...error }
  const accepted = describedIn(parentSchema) ?? error.message ?? 'otherwise'
  return new Error(`${field} is ${show(data)}; it must be ${accepted}`)
}

function describedIn(schema: unknown): string | undefined {
  return typeof schema === 'object' && schema !== null && 'description' in schema
    ? String(schema.description)
    : undefined
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length <= maxShownLength ? text : `${text.slice(0, maxShownLength)}…`
}

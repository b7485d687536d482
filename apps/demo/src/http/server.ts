import { MultinodeError } from '@multinode/core'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Shop } from '../shop.ts'
import { describeInvalid, ErrorReplies } from './error-replies.ts'
import { addItemRoutes } from './item-routes.ts'
import { addOperationRoutes } from './operation-routes.ts'
import { addOrderRoutes } from './order-routes.ts'
import { addSettingRoutes } from './setting-routes.ts'

const bodyLimitBytes = 16 * 1_024
/** How long a client may take to send a request. */
const requestTimeoutMs = 10_000

export interface ServerParts {
  readonly shop: Shop
  /** How long `POST /admin/drain` lets running work go on. */
  readonly drainMs: number
  /** For what is nobody's fault but ours. */
  readonly report: (message: string) => void
}

/** The HTTP side of the shop; it does not listen yet. */
export function buildServer({ shop, drainMs, report }: ServerParts): FastifyInstance {
  const replies = new ErrorReplies(report)
  const server = Fastify({
    logger: false,
    bodyLimit: bodyLimitBytes,
    requestTimeout: requestTimeoutMs,
    // Input is taken as it is or refused: nothing is dropped from it or read as another type.
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false, verbose: true } },
    schemaErrorFormatter: describeInvalid,
    frameworkErrors: replies.send,
  })
  // Only JSON is taken; fastify would read plain text too.
  server.removeContentTypeParser('text/plain')
  server.setErrorHandler(replies.send)
  server.setNotFoundHandler(replies.sendNoSuchRoute)
  addItemRoutes(server, shop)
  addOrderRoutes(server, shop)
  addSettingRoutes(server, shop)
  addOperationRoutes(server, shop, drainMs)
  return server
}

/** @returns the address to call, with the real port */
export async function listen(server: FastifyInstance, host: string, port: number): Promise<string> {
  try {
    return await server.listen({ host, port })
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new MultinodeError('MISCONFIGURED', `HOST=${host} PORT=${port} cannot be used: ${reason}`, {
      cause: error,
    })
  }
}

/** Takes no new connections, lets running requests end for `graceMs`, then cuts what is left. */
export async function closeServer(server: FastifyInstance, graceMs: number): Promise<void> {
  const timer = setTimeout(() => server.server.closeAllConnections(), graceMs)
  try {
    await server.close()
  } finally {
    clearTimeout(timer)
  }
}

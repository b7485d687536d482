import type { PluginContext } from '@multinode/core'
import { Redis } from 'ioredis'
import { checkIsNoClusterNode, checkSpeaksTls, checkTopology } from './check-topology.ts'
import { ClusterReads } from './cluster-reads.ts'
import { backoffMs, type ClientParts, createClient, type RedisClient } from './create-client.ts'
import type { ReadRouter } from './read-router.ts'
import { type DuplicateOptions, RedisConnection } from './redis-connection.ts'
import { isFatalForConnect } from './redis-errors.ts'
import { formatTarget, type RedisTarget } from './redis-target.ts'
import { ReplicaReads } from './replica-reads.ts'
import { RotatingPassword } from './rotating-password.ts'
import { whenReady } from './when-ready.ts'

/**
 * Connects to what the target describes, and resolves once it answers.
 * @param source where the target was given, for errors
 */
export async function connect(
  target: RedisTarget,
  source: string,
  context: PluginContext,
): Promise<RedisConnection> {
  const password = await firstPassword(target, context)
  const parts = { target, context, password }
  const client = createClient(parts)
  const connection = toConnection(client, parts, source)
  try {
    const known = { ...target, password: password?.current ?? target.password }
    const checks = [
      ...(target.mode === 'single' ? [] : [checkTopology(known, source, context)]),
      ...(target.tls ? [checkSpeaksTls(target, source, context, () => client.status === 'ready')] : []),
    ]
    await whenReady(client, connection.address, source, context, checks)
    if (target.mode === 'single') await checkIsNoClusterNode(connection, source, context)
  } catch (error) {
    await connection.close()
    throw error
  }
  warnOfNoEffect(connection, target, context)
  return connection
}

async function firstPassword(
  { password, dialTimeoutMs }: RedisTarget,
  { clock, callTimeoutMs }: PluginContext,
): Promise<RotatingPassword | undefined> {
  if (typeof password !== 'function') return undefined
  const rotating = new RotatingPassword(password, clock, dialTimeoutMs ?? callTimeoutMs)
  await rotating.renew()
  return rotating
}

function toConnection(client: RedisClient, parts: ClientParts, source: string): RedisConnection {
  const { target, context } = parts
  healLogin(client)
  return new RedisConnection({
    client,
    address: formatTarget(target),
    clock: context.clock,
    ownsClient: true,
    retry: { most: target.maxRetries, backoffMs: (attempt) => backoffMs(target, attempt) },
    reads: routeReads(client, parts),
    reopen: (options) => openAnother(parts, options, source),
  })
}

async function openAnother(
  parts: ClientParts,
  { blockMs }: DuplicateOptions,
  source: string,
): Promise<RedisConnection> {
  const target: RedisTarget = { ...parts.target, reads: { to: 'master', by: 'random' } }
  const own = { ...parts, target, ...(blockMs === undefined ? {} : { blockMs }) }
  const client = createClient(own)
  const connection = toConnection(client, own, source)
  try {
    await whenReady(client, connection.address, source, parts.context)
  } catch (error) {
    await connection.close()
    throw error
  }
  return connection
}

function routeReads(client: RedisClient, parts: ClientParts): ReadRouter | undefined {
  if (parts.target.reads.to === 'master') return undefined
  return client instanceof Redis ? new ReplicaReads(parts, client) : new ClusterReads(parts)
}

/**
 * ioredis goes on without login, or in database 0, when a server refused it at a reconnect: cut the connection, and try again. It may
 * be allowed later.
 */
function healLogin(client: RedisClient): void {
  if (client instanceof Redis) {
    client.on('error', (error: Error) => {
      if (isFatalForConnect(error)) client.disconnect(true)
    })
    return
  }
  client.on('+node', (node: Redis) => {
    node.on('error', (error: Error) => {
      if (isFatalForConnect(error)) node.disconnect()
    })
  })
}

function warnOfNoEffect(
  connection: RedisConnection,
  { withoutEffect }: RedisTarget,
  context: PluginContext,
): void {
  if (withoutEffect.length === 0) return
  context.warn(
    `Redis at ${connection.address}: ${withoutEffect.join(', ')} ${withoutEffect.length === 1 ? 'has' : 'have'} no effect, ` +
      'because one connection carries all commands.',
  )
}

import type { PluginContext } from '@multinode/core'
import { Redis } from 'ioredis'
import { checkIsNoClusterNode, checkTls, checkTopology } from './check-topology.ts'
import { ClusterReads } from './cluster-reads.ts'
import { backoffMs, type ClientParts, createClient, type RedisClient } from './create-client.ts'
import { FailoverWatch } from './failover-watch.ts'
import type { ReadRouter } from './read-router.ts'
import { type DuplicateOptions, RedisConnection } from './redis-connection.ts'
import { formatTarget, type RedisTarget } from './redis-target.ts'
import { ReplicaReads } from './replica-reads.ts'
import { RotatingPassword } from './rotating-password.ts'
import { tendLinks } from './tend-links.ts'
import { readyWithinMs, whenReady } from './when-ready.ts'

/**
 * Connects to what the target describes, and resolves once it answers.
 * @param source where the target was given, for errors
 */
export async function connect(
  target: RedisTarget,
  source: string,
  context: PluginContext,
): Promise<RedisConnection> {
  const startedAtMs = context.clock.monotonicMs()
  const password = await firstPassword(target, context)
  const connectTimeoutMs = context.connectTimeoutMs - (context.clock.monotonicMs() - startedAtMs)
  const left = { ...context, connectTimeoutMs: Math.floor(connectTimeoutMs) }
  const parts = { target, context, password }
  const client = createClient(parts)
  const connection = toConnection(client, parts, source)
  try {
    const known = { ...target, password: password?.current ?? target.password }
    const checks = [
      ...(target.mode === 'single' ? [] : [checkTopology(known, source, left)]),
      ...(target.tls ? [checkTls(target, source, left, () => client.status === 'ready')] : []),
    ]
    await whenReady(client, connection.address, source, left, checks)
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
  context: PluginContext,
): Promise<RotatingPassword | undefined> {
  if (typeof password !== 'function') return undefined
  const timeoutMs = Math.min(dialTimeoutMs ?? context.callTimeoutMs, readyWithinMs(context))
  const rotating = new RotatingPassword(password, context.clock, timeoutMs)
  await rotating.begin()
  return rotating
}

function toConnection(client: RedisClient, parts: ClientParts, source: string): RedisConnection {
  const { target, context } = parts
  tendLinks(client, context.clock)
  return new RedisConnection({
    client,
    address: formatTarget(target),
    clock: context.clock,
    ownsClient: true,
    retry: { most: target.maxRetries, backoffMs: (attempt) => backoffMs(target, attempt) },
    reads: routeReads(client, parts),
    failoverWatch: watchFailovers(client, parts),
    reopen: (options) => openAnother(parts, options, source),
  })
}

async function openAnother(
  parts: ClientParts,
  { blockMs, resends = false, signal = parts.context.signal }: DuplicateOptions,
  source: string,
): Promise<RedisConnection> {
  const target: RedisTarget = { ...parts.target, reads: { to: 'master', by: 'random' } }
  const own = { ...parts, target, resends, ...(blockMs === undefined ? {} : { blockMs }) }
  const client = createClient(own)
  const connection = toConnection(client, own, source)
  try {
    await whenReady(client, connection.address, source, { ...parts.context, signal })
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

function watchFailovers(client: RedisClient, parts: ClientParts): FailoverWatch | undefined {
  return client instanceof Redis && parts.target.mode === 'sentinel'
    ? new FailoverWatch(parts, client)
    : undefined
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

import { randomBytes } from 'node:crypto'
import type { PubSub } from '../pubsub/pubsub.ts'
import type { CapabilityName } from '../registry/capability-name.ts'
import { ConnectionPool } from '../registry/connection-pool.ts'
import type { Address, NodeIdentity, PluginContext } from '../registry/plugin.ts'
import type { CapabilityContext } from '../runtime/capability-context.ts'
import { type Clock, systemClock } from '../runtime/clock.ts'

export interface ContextOptions {
  /** Default: a random one, so that tests do not meet. */
  readonly clusterName?: string
  readonly address?: Address
  readonly clock?: Clock
  readonly connectTimeoutMs?: number
  readonly callTimeoutMs?: number
  /** Where background trouble goes. Default: it is thrown, so that no test overlooks it. */
  readonly report?: (error: unknown) => void
  /** What an operator is told. Default: nobody listens. */
  readonly warn?: (message: string) => void
  /** The signals that a cache tells the other nodes with. Default: none. */
  readonly pubsub?: PubSub
}

/** What core would give a plugin, for tests that build a driver without `createCluster`. Each call is a node of its own. */
export function pluginContext(options: ContextOptions = {}): PluginContext {
  return {
    node: testNode(options.clusterName),
    address: options.address,
    connections: new ConnectionPool(),
    clock: options.clock ?? systemClock,
    connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
    callTimeoutMs: options.callTimeoutMs ?? 5_000,
    signal: new AbortController().signal,
    report: options.report ?? throwUnhandled,
    warn: options.warn ?? ((): void => {}),
  }
}

/** What core would give a portable type, for tests that put one on a driver without `createCluster`. */
export function capabilityContext(
  capability: CapabilityName,
  backend: string,
  options: ContextOptions = {},
): CapabilityContext {
  return {
    capability,
    backend,
    node: testNode(options.clusterName),
    clock: options.clock ?? systemClock,
    callTimeoutMs: options.callTimeoutMs ?? 5_000,
    metadata: {},
    env: () => undefined,
    pubsub: () => options.pubsub,
    warn: options.warn ?? ((): void => {}),
    report: options.report ?? throwUnhandled,
  }
}

function testNode(clusterName = `test-${randomBytes(6).toString('hex')}`): NodeIdentity {
  const incarnation = randomBytes(8).toString('hex')
  return { clusterName, nodeId: `node-${incarnation.slice(0, 6)}`, incarnation }
}

function throwUnhandled(error: unknown): void {
  queueMicrotask(() => {
    throw error
  })
}

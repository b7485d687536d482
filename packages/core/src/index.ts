export { createCluster } from './cluster/create-cluster.ts'
export type {
  CapabilityDescription,
  Cluster,
  ClusterDescription,
  ClusterHealth,
  ClusterStats,
  DrainReport,
} from './cluster/cluster.ts'
export type { ClusterOptions } from './cluster/cluster-options.ts'
export type { CapabilityHealth } from './cluster/health-monitor.ts'
export type { SignalOptions } from './cluster/signals.ts'

export * from './pubsub/index.ts'
export * from './lock/index.ts'
export * from './cache/index.ts'
export * from './queue/index.ts'
export * from './worker-id/index.ts'

export {
  type ErrorCode,
  type ErrorContext,
  isMultinodeError,
  MultinodeError,
  type Outcome,
} from './errors/multinode-error.ts'
export { maskSecrets } from './errors/mask-secrets.ts'

// For authors of adapters.
export { type CapabilityName, capabilityNames } from './registry/capability-name.ts'
export type { Closable, ConnectionPool, Share } from './registry/connection-pool.ts'
export type { Driver } from './registry/driver.ts'
export {
  type Address,
  type NodeIdentity,
  type Plugin,
  pluginApi,
  type PluginContext,
} from './registry/plugin.ts'
export type { CapabilityContext } from './runtime/capability-context.ts'
export { checkCount, checkKnownOptions, checkMs } from './runtime/check.ts'
export { type Clock, type Instant, pause, type Timer } from './runtime/clock.ts'
export { withDeadline } from './runtime/deadline.ts'
export { Deadlines, type PendingCall } from './runtime/deadlines.ts'
export type { Schema } from './runtime/standard-schema.ts'

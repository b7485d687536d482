import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import type { NodeIdentity } from '../registry/plugin.ts'
import type { ClusterSettings } from './cluster-options.ts'

/** Whether nobody named the node, so that its next start has another name. */
export function hasRandomId({ nodeId, incarnation }: NodeIdentity): boolean {
  return nodeId.endsWith(`-${randomSuffix(incarnation)}`)
}

/**
 * Two processes of one host never share a node id by default: PM2 numbers its processes in `NODE_APP_INSTANCE`, all
 * others get a random suffix. The incarnation is random for every cluster object.
 */
export function identify(settings: ClusterSettings): NodeIdentity {
  const incarnation = randomBytes(8).toString('hex')
  const suffix = settings.instance ?? randomSuffix(incarnation)
  return {
    clusterName: settings.clusterName,
    nodeId: settings.nodeId ?? `${hostname()}-${suffix}`,
    incarnation,
  }
}

function randomSuffix(incarnation: string): string {
  return incarnation.slice(0, 6)
}

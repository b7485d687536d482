import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import type { NodeIdentity } from '../registry/plugin.ts'
import type { ClusterSettings } from './cluster-options.ts'

/**
 * Two processes of one host never share a node id by default: PM2 numbers its processes in `NODE_APP_INSTANCE`, all
 * others get a random suffix. The incarnation is random for every cluster object.
 */
export function identify(settings: ClusterSettings): NodeIdentity {
  const incarnation = randomBytes(8).toString('hex')
  const suffix = settings.instance ?? incarnation.slice(0, 6)
  return {
    clusterName: settings.clusterName,
    nodeId: settings.nodeId ?? `${hostname()}-${suffix}`,
    incarnation,
  }
}

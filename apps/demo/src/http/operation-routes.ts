import type { ClusterHealth } from '@multinode/core'
import type { FastifyInstance } from 'fastify'
import type { Shop } from '../shop.ts'

/** For operators, load balancers and orchestrators. */
export function addOperationRoutes(server: FastifyInstance, shop: Shop, drainMs: number): void {
  const { cluster } = shop

  server.get('/livez', () => ({ status: 'ok' }))

  server.get('/readyz', (_request, reply) => {
    const { state, status, capabilities } = cluster.health()
    const isReady = state === 'running' && shop.orderIds.isReady && !isLacking(capabilities)
    return reply.code(isReady ? 200 : 503).send({ ready: isReady, state, status, capabilities })
  })

  server.get('/cluster', () => ({
    describe: cluster.describe(),
    health: cluster.health(),
    stats: cluster.stats(),
    nodes: cluster.nodes(),
    catalogueReads: shop.catalogue.reads,
    lastCleanUp: shop.cleanUps.last() ?? null,
  }))

  server.post('/admin/drain', async () => shop.drain(drainMs))
}

/** Whether one is down that no request can do without. Without the cache all are answered: if that took nodes away from the balancer, it would take all of them. */
function isLacking(capabilities: ClusterHealth['capabilities']): boolean {
  return Object.entries(capabilities).some(([name, { status }]) => name !== 'cache' && status === 'down')
}

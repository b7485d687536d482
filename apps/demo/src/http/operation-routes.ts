import type { FastifyInstance } from 'fastify'
import type { Shop } from '../shop.ts'

/** For operators, load balancers and orchestrators. */
export function addOperationRoutes(server: FastifyInstance, shop: Shop, drainMs: number): void {
  const { cluster } = shop

  server.get('/livez', () => ({ status: 'ok' }))

  server.get('/readyz', (_request, reply) => {
    const { state, status, capabilities } = cluster.health()
    const isReady = state === 'running' && status !== 'down' && shop.orderIds.isReady
    return reply.code(isReady ? 200 : 503).send({ ready: isReady, state, status, capabilities })
  })

  server.get('/cluster', () => ({
    describe: cluster.describe(),
    health: cluster.health(),
    stats: cluster.stats(),
    nodes: cluster.nodes(),
    lastCleanUp: shop.cleanUps.last() ?? null,
  }))

  server.post('/admin/drain', async () => shop.drain(drainMs))
}

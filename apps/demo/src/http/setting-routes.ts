import type { FastifyInstance } from 'fastify'
import type { ShopSettings } from '../settings.ts'
import type { Shop } from '../shop.ts'

const settingsSchema = {
  type: 'object',
  description: 'an object with maxQuantity',
  additionalProperties: false,
  required: ['maxQuantity'],
  properties: {
    maxQuantity: {
      type: 'integer',
      description: 'a whole number from 1 to 10000',
      minimum: 1,
      maximum: 10_000,
    },
  },
}

export function addSettingRoutes(server: FastifyInstance, shop: Shop): void {
  server.get('/settings', () => shop.settings.current)

  server.put<{ Body: ShopSettings }>('/settings', { schema: { body: settingsSchema } }, (request) =>
    shop.settings.change(request.body),
  )
}

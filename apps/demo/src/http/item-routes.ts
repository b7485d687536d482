import type { FastifyInstance } from 'fastify'
import type { Shop } from '../shop.ts'

const itemSchema = {
  type: 'object',
  properties: {
    item: {
      type: 'string',
      description: 'the name of an item: see GET /stock',
      minLength: 1,
      maxLength: 100,
    },
  },
}

const priceSchema = {
  type: 'object',
  description: 'an object with priceCents',
  additionalProperties: false,
  required: ['priceCents'],
  properties: {
    priceCents: {
      type: 'integer',
      description: 'a whole number from 1 to 10000000',
      minimum: 1,
      maximum: 10_000_000,
    },
  },
}

interface ItemPath {
  readonly item: string
}

interface PriceBody {
  readonly priceCents: number
}

export function addItemRoutes(server: FastifyInstance, shop: Shop): void {
  server.get('/stock', () => ({ stock: shop.stock.list() }))

  server.get<{ Params: ItemPath }>('/items/:item', { schema: { params: itemSchema } }, async (request) => {
    const { item } = request.params
    return { item, priceCents: await shop.prices.of(item) }
  })

  server.put<{ Params: ItemPath; Body: PriceBody }>(
    '/items/:item/price',
    { schema: { params: itemSchema, body: priceSchema } },
    async (request) => {
      const { item } = request.params
      const { priceCents } = request.body
      return { item, priceCents, cache: await shop.prices.change(item, priceCents) }
    },
  )
}

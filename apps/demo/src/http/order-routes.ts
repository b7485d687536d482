import type { FastifyInstance } from 'fastify'
import { type Order, type OrderRequest, type OrderStatus, orderStatuses } from '../orders.ts'
import { ShopError } from '../shop-error.ts'
import type { Shop } from '../shop.ts'

const defaultListLimit = 50

const orderSchema = {
  type: 'object',
  description: 'an object with customer, item and quantity',
  additionalProperties: false,
  required: ['customer', 'item', 'quantity'],
  properties: {
    customer: {
      type: 'string',
      description: '1 to 100 characters, not all blank, without control characters',
      minLength: 1,
      maxLength: 100,
      pattern: '^(?=.*\\S)[^\\p{Cc}\\p{Cs}]*$',
    },
    item: { type: 'string', description: 'the name of an item: see GET /stock', maxLength: 100 },
    quantity: {
      type: 'integer',
      description: 'a whole number from 1 to 10000',
      minimum: 1,
      maximum: 10_000,
    },
  },
}

const keySchema = {
  type: 'object',
  properties: {
    'idempotency-key': {
      type: 'string',
      description: '1 to 200 characters',
      minLength: 1,
      maxLength: 200,
    },
  },
}

const listSchema = {
  type: 'object',
  additionalProperties: false,
  properties: {
    status: { type: 'string', description: `one of ${orderStatuses.join(', ')}`, enum: orderStatuses },
    limit: {
      type: 'string',
      description: 'a whole number from 1 to 200',
      pattern: '^([1-9][0-9]?|1[0-9]{2}|200)$',
    },
  },
}

interface KeyHeaders {
  readonly 'idempotency-key'?: string
}

interface ListQuery {
  readonly status?: OrderStatus
  readonly limit?: string
}

interface OrderPath {
  readonly id: string
}

export function addOrderRoutes(server: FastifyInstance, shop: Shop): void {
  server.post<{ Body: OrderRequest; Headers: KeyHeaders }>(
    '/orders',
    { schema: { body: orderSchema, headers: keySchema } },
    async (request, reply) => {
      const id = await shop.place(request.body, request.headers['idempotency-key'])
      return reply.code(202).header('location', `/orders/${id}`).send({ id })
    },
  )

  server.get<{ Querystring: ListQuery }>('/orders', { schema: { querystring: listSchema } }, (request) => {
    const { limit = defaultListLimit, status } = request.query
    return { orders: shop.orders.list(Number(limit), status) }
  })

  server.get<{ Params: OrderPath }>('/orders/:id', (request) => findOrder(shop, request.params.id))

  server.get<{ Params: OrderPath }>('/orders/:id/sheet', async (request, reply) => {
    const order = findOrder(shop, request.params.id)
    checkPrinted(order)
    const sheet = await shop.sheets.serve(order, request.headers['if-none-match'])
    reply.header('etag', sheet.etag)
    if (sheet.status === 'unchanged') return reply.code(304).send()
    return reply.type('image/png').send(sheet.png)
  })
}

function findOrder(shop: Shop, id: string): Order {
  const order = shop.orders.find(id)
  if (order === undefined) throw new ShopError('ORDER_NOT_FOUND', `There is no order ${JSON.stringify(id)}.`)
  return order
}

function checkPrinted({ id, status, attempts }: Order): void {
  if (status === 'finished') return
  if (status === 'failed') {
    throw new ShopError('PRINT_FAILED', `Order ${id} has no sheet: printing failed ${attempts} times.`)
  }
  throw new ShopError('SHEET_NOT_READY', `Order ${id} is ${status}: ask again for its sheet in a moment.`)
}

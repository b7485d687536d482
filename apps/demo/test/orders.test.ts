import { expect, test } from 'vitest'
import { readJson, refusal, startShop } from './support/print-shop.ts'

const pngSignature = '89504e470d0a1a0a'
const ada = { customer: 'Ada', item: 'poster', quantity: 2 }

test('an order is taken, printed in the background, and its sheet is a PNG with a strong ETag', async () => {
  const shop = await startShop({ NODE_ID: 'press-1' })
  const placed = await shop.post('/orders', ada)
  expect(placed.status).toBe(202)
  const { id } = await readJson<{ id: string }>(placed)
  expect(placed.headers.get('location')).toBe(`/orders/${id}`)
  const order = await shop.untilStatus(id, 'finished')
  expect(order).toMatchObject({ id, ...ada, status: 'finished', node: 'press-1', attempts: 1 })

  const sheet = await shop.call(`/orders/${id}/sheet`)
  expect(sheet.headers.get('content-type')).toBe('image/png')
  const png = Buffer.from(await sheet.arrayBuffer())
  expect(png.subarray(0, 8).toString('hex')).toBe(pngSignature)
  // Width and height, from the first chunk.
  expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([874, 1_240])
  expect(sheet.headers.get('etag')).toMatch(/^"[0-9a-f]{64}"$/)
})

test('a sheet that the client has is not sent again', async () => {
  const shop = await startShop()
  const id = await shop.order('poster')
  await shop.untilStatus(id, 'finished')
  const etag = (await shop.call(`/orders/${id}/sheet`)).headers.get('etag') ?? ''
  const ask = async (ifNoneMatch: string): Promise<number> =>
    (await shop.call(`/orders/${id}/sheet`, { headers: { 'if-none-match': ifNoneMatch } })).status
  expect(await ask(etag)).toBe(304)
  expect(await ask(`"other", W/${etag}`)).toBe(304)
  expect(await ask('*')).toBe(304)
  expect(await ask('"other"')).toBe(200)
})

test('sheets of different orders differ in their ETag', async () => {
  const shop = await startShop()
  const ids = [await shop.order('poster'), await shop.order('flyer')]
  const etags = []
  for (const id of ids) {
    await shop.untilStatus(id, 'finished')
    etags.push((await shop.call(`/orders/${id}/sheet`)).headers.get('etag'))
  }
  expect(new Set(etags).size).toBe(2)
})

test('orders are listed newest first, by status and up to a limit', async () => {
  const shop = await startShop()
  const ids = []
  for (let count = 0; count < 3; count++) ids.push(await shop.order('flyer'))
  for (const id of ids) await shop.untilStatus(id, 'finished')
  expect((await shop.list()).map((order) => order.id)).toEqual(ids.toReversed())
  expect((await shop.list('?limit=2')).map((order) => order.id)).toEqual(ids.toReversed().slice(0, 2))
  expect(await shop.list('?status=finished&limit=200')).toHaveLength(3)
  expect(await shop.list('?status=failed')).toEqual([])
})

test('bad input is refused at once, naming the field, the value and what is accepted', async () => {
  const shop = await startShop()
  const table: [body: unknown, status: number, message: string][] = [
    [{ ...ada, quantity: 0 }, 400, 'body/quantity is 0; it must be a whole number from 1 to 10000'],
    [{ ...ada, quantity: 10_001 }, 400, 'body/quantity is 10001; it must be'],
    [{ ...ada, quantity: 1.5 }, 400, 'body/quantity is 1.5; it must be'],
    [{ ...ada, quantity: '2' }, 400, 'body/quantity is "2"; it must be'],
    [{ ...ada, customer: '' }, 400, 'body/customer is ""; it must be 1 to 100 characters'],
    [{ ...ada, customer: '  ' }, 400, 'body/customer is "  "; it must be 1 to 100 characters'],
    [{ ...ada, customer: 'a\nb' }, 400, 'body/customer is "a\\nb"; it must be'],
    [{ ...ada, customer: 'x'.repeat(101) }, 400, 'body/customer is "xxx'],
    [{ ...ada, customer: 7 }, 400, 'body/customer is 7; it must be'],
    [{ ...ada, item: 'mug' }, 422, 'item is "mug"; known items: business-card, flyer, letterpress, poster'],
    [{ ...ada, colour: 'red' }, 400, 'body has the unknown property "colour"'],
    [{ customer: 'Ada', item: 'poster' }, 400, 'body lacks the property "quantity"'],
    [[ada], 400, 'body is [{'],
    [null, 400, 'body is null; it must be an object'],
    [{ ...ada, customer: 'x'.repeat(17_000) }, 413, 'body is too large'],
  ]
  for (const [body, status, message] of table) {
    const refused = await refusal(await shop.post('/orders', body))
    expect(refused).toMatchObject({ status, message: expect.stringContaining(message) })
  }
  expect(await shop.list()).toEqual([])
})

test('a bad query, path, header, type or syntax is refused as JSON too', async () => {
  const shop = await startShop()
  const expected: [path: string, init: RequestInit, status: number, code: string, message: string][] = [
    ['/orders?limit=0', {}, 400, 'INVALID_INPUT', 'querystring/limit is "0"; it must be'],
    ['/orders?limit=201', {}, 400, 'INVALID_INPUT', 'from 1 to 200'],
    ['/orders?status=lost', {}, 400, 'INVALID_INPUT', 'one of queued, printing, finished, failed'],
    ['/orders?state=x', {}, 400, 'INVALID_INPUT', 'unknown property "state"'],
    ['/orders/none', {}, 404, 'ORDER_NOT_FOUND', 'no order "none"'],
    ['/orders/none/sheet', {}, 404, 'ORDER_NOT_FOUND', 'no order "none"'],
    ['/orders/%zz', {}, 400, 'INVALID_INPUT', '%zz'],
    ['/nowhere', {}, 404, 'NOT_FOUND', 'no GET /nowhere'],
    ['/orders', { method: 'DELETE' }, 404, 'NOT_FOUND', 'no DELETE /orders'],
    ['/orders', { method: 'POST', body: 'a=b' }, 415, 'UNSUPPORTED_MEDIA_TYPE', 'Unsupported Media Type'],
  ]
  for (const [path, init, status, code, message] of expected) {
    const refused = await refusal(await shop.call(path, init))
    expect(refused).toMatchObject({ status, code, message: expect.stringContaining(message) })
  }
  const broken = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"customer"' }
  expect(await refusal(await shop.call('/orders', broken))).toMatchObject({ status: 400 })
  expect(await refusal(await shop.post('/orders', ada, { 'idempotency-key': '' }))).toMatchObject({
    status: 400,
    message: 'headers/idempotency-key is ""; it must be 1 to 200 characters',
  })
})

test('the same idempotency key gives the same order, and refuses another one', async () => {
  const shop = await startShop()
  const key = { 'idempotency-key': 'order-7' }
  const replies = await Promise.all([1, 2, 3, 4, 5].map(() => shop.post('/orders', ada, key)))
  expect(replies.map((reply) => reply.status)).toEqual([202, 202, 202, 202, 202])
  const bodies = await Promise.all(replies.map((reply) => reply.text()))
  expect(new Set(bodies).size).toBe(1)
  expect(await shop.left('poster')).toBe(1_998)
  for (const other of [{ quantity: 3 }, { customer: 'Bob' }, { item: 'flyer' }]) {
    const refused = await refusal(await shop.post('/orders', { ...ada, ...other }, key))
    expect(refused).toMatchObject({ status: 422, code: 'KEY_REUSED' })
  }
  expect(await shop.list()).toHaveLength(1)
})

test('what is out of stock is refused and reserves nothing', async () => {
  const shop = await startShop()
  const refused = await refusal(
    await shop.post('/orders', { customer: 'Ada', item: 'letterpress', quantity: 31 }),
  )
  expect(refused).toMatchObject({
    status: 409,
    code: 'OUT_OF_STOCK',
    message: 'quantity is 31; of letterpress there are 30 left.',
  })
  expect(await shop.left('letterpress')).toBe(30)
  await shop.order('letterpress', 30)
  expect(await shop.left('letterpress')).toBe(0)
})

test('50 orders at once of an item of which there are 30: exactly 30 are taken', async () => {
  const shop = await startShop()
  const order = { customer: 'Ada', item: 'letterpress', quantity: 1 }
  const replies = await Promise.all(Array.from({ length: 50 }, () => shop.post('/orders', order)))
  const statuses = replies.map((reply) => reply.status)
  expect(statuses.filter((status) => status === 202)).toHaveLength(30)
  expect(statuses.filter((status) => status === 409)).toHaveLength(20)
  expect(await shop.left('letterpress')).toBe(0)
  expect(await shop.list('?limit=200')).toHaveLength(30)
})

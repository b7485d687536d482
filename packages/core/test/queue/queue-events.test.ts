import { expect, test } from 'vitest'
import { QueueEmitter } from '../../src/queue/queue-events.ts'
import { callUntyped } from '../support/call-untyped.ts'
import { failureOf, turn } from '../support/outcome.ts'
import { delivery, QueueOn } from './queue-on.ts'

test('a listener hears its event until it is taken off, and another listener does not mind', () => {
  const emitter = new QueueEmitter(() => expect.fail('reported'))
  const heard: string[] = []
  const one = ({ id }: { readonly id: string }): void => void heard.push(`one ${id}`)
  emitter.on('expired', one)
  emitter.on('expired', one)
  emitter.on('expired', ({ id }) => void heard.push(`two ${id}`))
  emitter.on('stalled', ({ id }) => void heard.push(`stalled ${id}`))
  emitter.emit('expired', { id: 'a' })
  emitter.off('expired', one)
  emitter.off('lock-lost', one)
  emitter.emit('expired', { id: 'b' })
  emitter.emit('lock-lost', { id: 'c' })
  expect(heard).toEqual(['one a', 'two a', 'two b'])
})

test('a listener that throws or rejects is reported, and keeps nobody from anything', async () => {
  const reported: unknown[] = []
  const emitter = new QueueEmitter((error) => void reported.push(error))
  const heard: string[] = []
  const [thrown, rejected] = [new Error('thrown'), new Error('rejected')]
  emitter.on('expired', () => {
    throw thrown
  })
  emitter.on('expired', () => Promise.reject(rejected))
  emitter.on('expired', ({ id }) => void heard.push(id))
  emitter.emit('expired', { id: 'a' })
  await turn()
  expect([heard, reported]).toEqual([['a'], [thrown, rejected]])
})

test('a listener that throws does not change what becomes of a job', async () => {
  const on = new QueueOn()
  const queue = on.queue()
  queue.on('active', () => {
    throw new Error('listener')
  })
  await queue.process(() => {})
  expect(await on.consumer.receiver.run(delivery())).toEqual({ type: 'done' })
  expect(on.reported).toMatchObject([{ message: 'listener' }])
})

test.each([
  ['on', ['finished', () => {}], 'event'],
  ['off', ['finished', () => {}], 'event'],
  ['on', ['active', 'no function'], 'listener'],
])('%s of a queue refuses %j by name', async (method, args, name) => {
  const error = await failureOf(() => callUntyped(new QueueOn().queue(), method, args))
  expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', details: { name } })
})

/** Other libraries on RabbitMQ, each as its documentation says, on quorum queues, with publisher confirms. */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { connect as connectManaged } from 'amqp-connection-manager'
import { Connection } from 'rabbitmq-client'
import rascal from 'rascal'
import type { OpenQueue } from './queue-sides.ts'

const queueArguments = { 'x-queue-type': 'quorum' } as const

const openManaged: OpenQueue = async (url) => {
  const queue = `managed.${randomUUID()}`
  const connection = connectManaged([url])
  const channel = connection.createChannel({
    json: true,
    confirm: true,
    setup: (each: { assertQueue(name: string, options: object): Promise<unknown> }) =>
      each.assertQueue(queue, { durable: true, arguments: queueArguments }),
  })
  await channel.waitForConnect()
  const add = (payload: unknown): Promise<unknown> =>
    channel.sendToQueue(queue, payload, { persistent: true })
  return {
    add,
    addMany: (payloads) => Promise.all(payloads.map(add)),
    async work(concurrency, onJob) {
      const reader = connection.createChannel()
      await reader.consume(
        queue,
        (message) => {
          onJob()
          reader.ack(message)
        },
        { prefetch: concurrency },
      )
      return { [Symbol.asyncDispose]: () => reader.close() }
    },
    [Symbol.asyncDispose]: () => connection.close(),
  }
}

const openClient: OpenQueue = async (url) => {
  const queue = `client.${randomUUID()}`
  const connection = new Connection(url)
  await connection.queueDeclare({ queue, durable: true, arguments: queueArguments })
  const publisher = connection.createPublisher({ confirm: true })
  const add = (payload: unknown): Promise<void> =>
    publisher.send({ routingKey: queue, durable: true }, payload)
  return {
    add,
    addMany: (payloads) => Promise.all(payloads.map(add)),
    async work(concurrency, onJob) {
      const queueOptions = { durable: true, arguments: queueArguments }
      const options = { queue, queueOptions, qos: { prefetchCount: concurrency }, concurrency }
      const consumer = connection.createConsumer(options, async () => onJob())
      return { [Symbol.asyncDispose]: () => consumer.close() }
    },
    async [Symbol.asyncDispose]() {
      await publisher.close()
      await connection.close()
    },
  }
}

const openRascal: OpenQueue = async (url) => {
  const queue = `rascal.${randomUUID()}`
  const broker = await rascal.BrokerAsPromised.create({
    vhosts: {
      '/': {
        connection: { url },
        queues: { [queue]: { options: { durable: true, arguments: queueArguments } } },
        publications: { jobs: { queue, confirm: true } },
        subscriptions: { jobs: { queue, prefetch: 50 } },
      },
    },
  })
  broker.on('error', () => {})
  const add = async (payload: unknown): Promise<void> => {
    await once(await broker.publish('jobs', payload, { options: { persistent: true } }), 'success')
  }
  return {
    add,
    addMany: (payloads) => Promise.all(payloads.map(add)),
    async work(concurrency, onJob) {
      const session = await broker.subscribe('jobs', { prefetch: concurrency })
      session.on('message', (_message, _content, acknowledge) => {
        onJob()
        acknowledge()
      })
      return { [Symbol.asyncDispose]: () => session.cancel() }
    },
    [Symbol.asyncDispose]: () => broker.shutdown(),
  }
}

export const rabbitmqPeers: Readonly<Record<string, OpenQueue>> = {
  'amqp-connection-manager': openManaged,
  'rabbitmq-client': openClient,
  rascal: openRascal,
}

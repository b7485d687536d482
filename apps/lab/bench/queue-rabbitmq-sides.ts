/** Queues on RabbitMQ: ours, and what one writes with amqplib alone. */
import { randomUUID } from 'node:crypto'
import { rabbitmqQueue } from '@multinode/queue-rabbitmq'
import { connect } from 'amqplib'
import { rabbitmqPeers } from './queue-rabbitmq-peers.ts'
import { openOurs, type OpenQueue } from './queue-sides.ts'

/** A quorum queue, confirms, and one ack for each message. */
const openRaw: OpenQueue = async (url) => {
  const queue = `raw.${randomUUID()}`
  const writing = await connect(url, { noDelay: true })
  const writer = await writing.createConfirmChannel()
  await writer.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } })
  const reading = await connect(url, { noDelay: true })
  const add = (payload: unknown): Promise<void> =>
    new Promise((resolve, reject) => {
      const content = Buffer.from(JSON.stringify(payload))
      writer.sendToQueue(queue, content, { persistent: true, mandatory: true }, (error: unknown) =>
        error === null ? resolve() : reject(error),
      )
    })
  return {
    add,
    addMany: (payloads) => Promise.all(payloads.map(add)),
    async work(concurrency, onJob) {
      const reader = await reading.createChannel()
      await reader.prefetch(concurrency)
      await reader.consume(queue, (message) => {
        if (message === null) return
        JSON.parse(message.content.toString('utf8'))
        onJob()
        reader.ack(message)
      })
      return { [Symbol.asyncDispose]: () => reader.close() }
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([writing.close(), reading.close()])
    },
  }
}

export const onRabbitmq = {
  ours: openOurs((url) => rabbitmqQueue({ url })),
  raw: openRaw,
  peers: rabbitmqPeers,
}

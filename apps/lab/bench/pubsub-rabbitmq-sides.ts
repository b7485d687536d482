/** Signals on RabbitMQ: ours in mode stream, and what one writes with amqplib alone, which loses what is published while a link is down. */
import { randomUUID } from 'node:crypto'
import { rabbitmqPubSub } from '@multinode/pubsub-rabbitmq'
import { connect } from 'amqplib'
import { joinOn, readMark } from './pubsub-ours.ts'
import type { JoinParty } from './pubsub-party.ts'

const exchange = 'raw.bus'

const joinRaw: JoinParty = async (url, hear) => {
  const model = await connect(url, { noDelay: true })
  const [writer, reader] = [await model.createConfirmChannel(), await model.createChannel()]
  await reader.assertExchange(exchange, 'topic', { durable: true })
  const { queue } = await reader.assertQueue(`raw.${randomUUID()}`, { exclusive: true, autoDelete: true })
  await reader.bindQueue(queue, exchange, '#')
  await reader.consume(
    queue,
    (message) => {
      if (message !== null) hear(readMark(JSON.parse(message.content.toString('utf8'))))
    },
    { noAck: true },
  )
  return {
    publish: (mark) =>
      new Promise<void>((resolve, reject) => {
        const content = Buffer.from(JSON.stringify(mark))
        writer.publish(exchange, 'bench.mark', content, { persistent: true }, (error: unknown) =>
          error === null ? resolve() : reject(error),
        )
      }),
    [Symbol.asyncDispose]: () => model.close(),
  }
}

export const joinRabbitmq: Readonly<Record<string, JoinParty>> = {
  'rabbitmq ours': joinOn((url) => rabbitmqPubSub({ url })),
  'rabbitmq raw': joinRaw,
}

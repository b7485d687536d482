import type { OutgoingMessage } from '@multinode/connection-rabbitmq'
import type { OutgoingSignal } from '@multinode/core'
import type { ConsumeMessage } from 'amqplib'

/** One message on the bus; `hello` is what a reader sends itself to know where the end of its queue is. */
export interface BusMessage {
  readonly kind: 'signal' | 'hello'
  readonly id: string
  /** In a stream. */
  readonly offset: number | undefined
  readonly source: string
  readonly sequence: number
  readonly firstUnaccepted: number
  readonly topic: string
  readonly data: Uint8Array
}

export function toSignalMessage(
  exchange: string,
  source: string,
  { sequence, topic, data }: OutgoingSignal,
  firstUnaccepted: number,
): OutgoingMessage {
  return {
    exchange,
    routingKey: topic,
    content: Buffer.from(data.buffer, data.byteOffset, data.byteLength),
    options: {
      type: 'signal',
      messageId: `${source}/${sequence}`,
      headers: { first: firstUnaccepted },
      persistent: true,
      // Every node has a queue there, or shares one: a message that no queue takes was not accepted.
      mandatory: true,
    },
  }
}

/** Into one queue, by its name. */
export function toHelloMessage(queue: string, id: string): OutgoingMessage {
  const options = { type: 'hello', messageId: id, persistent: true, mandatory: true }
  return { exchange: '', routingKey: queue, content: Buffer.alloc(0), options }
}

/** @throws for what nobody of ours has published */
export function readBusMessage({ content, fields, properties }: ConsumeMessage): BusMessage {
  const { type, messageId, headers } = properties
  const id = String(messageId)
  const [source = '', sequence = ''] = id.split('/')
  const offset: unknown = headers?.['x-stream-offset']
  const position = { id, offset: offset === undefined ? undefined : Number(offset), topic: fields.routingKey }
  if (type === 'hello') {
    return { kind: 'hello', ...position, source, sequence: 0, firstUnaccepted: 0, data: content }
  }
  if (type !== 'signal' || !/^\d+$/.test(sequence)) {
    throw new Error(`the bus has a message that no node published, with routing key ${fields.routingKey}`)
  }
  const firstUnaccepted = Number(headers?.['first'] ?? 0)
  return {
    kind: 'signal',
    ...position,
    source,
    sequence: Number(sequence),
    firstUnaccepted,
    data: content,
  }
}

import { isMultinodeError } from '@multinode/core'
import {
  type RabbitmqServer,
  serversAvailable,
  startRabbitmq,
  type TcpProxy,
  tcpProxy,
  waitUntil,
} from '@multinode/testbed'
import { type ConsumeMessage, connect } from 'amqplib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { OutgoingMessage, Publisher, RabbitmqConnection } from '../src/index.ts'
import { callMs, openWith } from './open-with.ts'
import { settled } from './settled.ts'

describe.skipIf(!serversAvailable())('publishing', () => {
  let server: RabbitmqServer
  let proxy: TcpProxy
  let queues = 0

  beforeAll(async () => {
    server = await startRabbitmq()
    proxy = await tcpProxy(server.port)
  }, 60_000)
  afterAll(async () => {
    await proxy.close()
    await server.stop()
  })

  const proxied = (): string => `amqp://127.0.0.1:${proxy.port}`

  async function freshQueue(
    connection: RabbitmqConnection,
    args: Record<string, unknown> = {},
  ): Promise<string> {
    queues += 1
    const queue = `q${queues}`
    const channel = connection.channel({ name: 'the topology' })
    await channel.whenReady(callMs)
    await channel.run('declaring', callMs, (native) =>
      native.assertQueue(queue, { durable: true, arguments: args }),
    )
    await channel.close()
    return queue
  }

  /** All that is in a queue, in order, by a client of its own. */
  async function contentOf(queue: string): Promise<{ text: string; id: unknown }[]> {
    const client = await connect(server.url)
    const channel = await client.createChannel()
    const messages: { text: string; id: unknown }[] = []
    const { messageCount } = await channel.checkQueue(queue)
    const collect = (message: ConsumeMessage | null): void => {
      if (message === null) return
      messages.push({ text: message.content.toString(), id: message.properties.messageId as unknown })
    }
    await channel.consume(queue, collect, { noAck: true })
    await waitUntil('all messages', () => messages.length === messageCount)
    await client.close()
    return messages
  }

  function to(queue: string, text: string, options: OutgoingMessage['options'] = {}): OutgoingMessage {
    return {
      exchange: '',
      routingKey: queue,
      content: Buffer.from(text),
      options: { persistent: true, ...options },
    }
  }

  function numbered(publisher: Publisher, queue: string, from: number, count: number): Promise<void>[] {
    return Array.from({ length: count }, (_, index) =>
      publisher.publish(to(queue, String(from + index)), 15_000),
    )
  }

  it('confirms, in the order of the calls', async () => {
    await using opened = await openWith({ url: server.url })
    const queue = await freshQueue(opened.connection)
    const publisher = opened.connection.publisher()
    await Promise.all(numbered(publisher, queue, 0, 5_000))
    expect((await contentOf(queue)).map(({ text }) => Number(text))).toEqual(
      Array.from({ length: 5_000 }, (_, n) => n),
    )
    expect(publisher.unconfirmed).toBe(0)
  })

  it('sends again what was not confirmed when the connection was cut, in order and with the same id; a bare client loses it', async () => {
    await using opened = await openWith({ url: proxied() })
    const queue = await freshQueue(opened.connection)
    const publisher = opened.connection.publisher()
    const bare = await connect(proxied())
    bare.on('error', () => {})
    const bareChannel = await bare.createConfirmChannel()
    const lost: unknown[] = []
    for (let n = 0; n < 200; n += 1)
      bareChannel.sendToQueue('', Buffer.from('x'), {}, (error) => error && lost.push(error))
    const first = numbered(publisher, queue, 0, 1_000)
    proxy.reset()
    const second = numbered(publisher, queue, 1_000, 1_000)
    await Promise.all([...first, ...second])
    await waitUntil('the bare client to lose its confirms', () => lost.length > 0)
    const content = await contentOf(queue)
    const firstSeen = [...new Set(content.map(({ text }) => Number(text)))]
    expect(firstSeen).toEqual(Array.from({ length: 2_000 }, (_, n) => n))
    expect(new Set(content.map(({ id }) => id)).size).toBe(2_000)
  })

  it('sends a message again whose confirm was lost on the way: twice there, by one id', async () => {
    await using opened = await openWith({ url: proxied() })
    const queue = await freshQueue(opened.connection)
    const publisher = opened.connection.publisher()
    await publisher.whenReady(callMs)
    const basicAck = Buffer.from([0, 60, 0, 80])
    proxy.dropReply((chunk) => chunk.includes(basicAck))
    await publisher.publish(to(queue, 'once'), 15_000)
    const content = await contentOf(queue)
    expect(
      content.map(({ text }) => text),
      'the control: the first one had arrived',
    ).toEqual(['once', 'once'])
    expect(new Set(content.map(({ id }) => id)).size).toBe(1)
  })

  it('refuses a message that is too large, and headers, at no cost for those beside it', async () => {
    await using opened = await openWith({ url: server.url })
    const queue = await freshQueue(opened.connection)
    const publisher = opened.connection.publisher()
    const beside = numbered(publisher, queue, 0, 500)
    const large = { exchange: '', routingKey: queue, content: Buffer.alloc(1_048_577) }
    const headers = { x: 'y'.repeat(65_536) }
    const exact = { exchange: '', routingKey: queue, content: Buffer.alloc(1_048_576) }
    for (const message of [large, to(queue, 'h', { headers })]) {
      await expect(publisher.publish(message)).rejects.toMatchObject({
        code: 'TOO_LARGE',
        outcome: 'not-sent',
      })
    }
    await Promise.all([
      ...beside,
      publisher.publish(exact),
      publisher.publish(to(queue, 'h', { headers: { x: 'y'.repeat(59_000) } })),
    ])
    expect(opened.reports).toEqual([])
  })

  it('rejects only what went to an exchange that is not there; on a bare channel all others are lost with it', async () => {
    await using opened = await openWith({ url: server.url })
    const queue = await freshQueue(opened.connection)
    const publisher = opened.connection.publisher()
    const before = numbered(publisher, queue, 0, 500)
    const poison = publisher.publish({ exchange: 'nowhere', routingKey: 'x', content: Buffer.from('x') })
    const poisoned = settled(poison)
    const after = numbered(publisher, queue, 500, 500)
    await Promise.all([...before, ...after])
    const { error } = await poisoned
    expect(error).toMatchObject({ code: 'NOT_FOUND', outcome: 'not-sent' })
    expect(String(error)).toContain('publishing to exchange "nowhere"')
    const seen = [...new Set((await contentOf(queue)).map(({ text }) => Number(text)))]
    expect(seen).toEqual(Array.from({ length: 1_000 }, (_, n) => n))

    const bare = await connect(server.url)
    const channel = await bare.createConfirmChannel()
    channel.on('error', () => {})
    let lost = 0
    channel.publish('nowhere', 'x', Buffer.from('x'))
    for (let n = 0; n < 500; n += 1)
      channel.sendToQueue(queue, Buffer.from('x'), {}, (failed) => (lost += failed ? 1 : 0))
    await waitUntil('the bare channel to be closed', () => lost > 0)
    await bare.close()
    expect(lost).toBe(500)
  })

  it('tells what no queue takes, when it is mandatory', async () => {
    await using opened = await openWith({ url: server.url })
    const queue = await freshQueue(opened.connection)
    const publisher = opened.connection.publisher()
    const outcomes = await Promise.allSettled([
      publisher.publish(to(queue, 'a', { mandatory: true })),
      publisher.publish(to('nobody', 'b', { mandatory: true })),
      publisher.publish(to('nobody', 'c')),
      publisher.publish(to(queue, 'd', { mandatory: true })),
    ])
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled'])
    expect(outcomes[1]).toMatchObject({ reason: { code: 'NOT_FOUND', outcome: 'not-sent' } })
  })

  it('tells what the server does not take', async () => {
    await using opened = await openWith({ url: server.url })
    const queue = await freshQueue(opened.connection, { 'x-max-length': 1, 'x-overflow': 'reject-publish' })
    const publisher = opened.connection.publisher()
    const outcomes = await Promise.all(numbered(publisher, queue, 0, 50).map(settled))
    const errors = outcomes.flatMap(({ error }) => error ?? [])
    expect(errors.length).toBeGreaterThan(0)
    for (const error of errors) expect(error).toMatchObject({ code: 'REJECTED', outcome: 'unknown' })
  })

  it('buffers within its bounds while the server is away, and says so beyond', async () => {
    await using opened = await openWith({ url: proxied() })
    const queue = await freshQueue(opened.connection)
    const publisher = opened.connection.publisher({ maxUnconfirmed: 10, maxBytes: 1_000 })
    proxy.refuse(true)
    proxy.reset()
    await waitUntil('it to be down', () => opened.connection.state.status === 'down')
    const buffered = numbered(publisher, queue, 0, 10)
    await expect(publisher.publish(to(queue, 'x'))).rejects.toMatchObject({
      code: 'EXHAUSTED',
      outcome: 'not-sent',
    })
    proxy.heal()
    await Promise.all(buffered)
    await expect(publisher.publish(to(queue, 'y'.repeat(1_001)))).rejects.toMatchObject({ code: 'EXHAUSTED' })
    expect((await contentOf(queue)).map(({ text }) => Number(text))).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  })

  it('settles by the deadline, with the truth, when no confirm comes, and goes on', async () => {
    await using opened = await openWith({ url: proxied() })
    const queue = await freshQueue(opened.connection)
    const publisher = opened.connection.publisher({ confirmTimeoutMs: 500 })
    await publisher.publish(to(queue, 'first'))
    proxy.blackhole(true)
    const { error, ms } = await settled(publisher.publish(to(queue, 'second')))
    expect(error).toMatchObject({ code: 'TIMEOUT', outcome: 'unknown' })
    expect(ms).toBeLessThan(3_000)
    const { error: unsent } = await settled(publisher.publish(to(queue, 'third')))
    expect(error).toMatchObject({ code: 'TIMEOUT' })
    expect(isMultinodeError(unsent) && unsent.outcome).toBe('not-sent')
    proxy.heal()
    await publisher.publish(to(queue, 'fourth'), 15_000)
    const texts = (await contentOf(queue)).map(({ text }) => text)
    expect(texts).not.toContain('third')
    expect(texts).toContain('fourth')
  })

  it('waits while the server lacks memory, within its bounds; consuming goes on', async () => {
    await using opened = await openWith({ url: server.url })
    const queue = await freshQueue(opened.connection)
    const publisher = opened.connection.publisher({ maxUnconfirmed: 50 })
    await Promise.all(numbered(publisher, queue, 0, 20))
    const states: string[] = []
    opened.connection.onState(({ status }) => states.push(status))
    await server.memoryAlarm(true)
    try {
      const waiting = [publisher.publish(to(queue, 'blocked'), 30_000)]
      await waitUntil('it to be blocked', () => opened.connection.state.status === 'blocked')
      expect(opened.connection.state.reason).toContain('memory')
      for (let n = 1; n < 50; n += 1) waiting.push(publisher.publish(to(queue, 'blocked'), 30_000))
      await expect(publisher.publish(to(queue, 'more'))).rejects.toMatchObject({ code: 'EXHAUSTED' })
      // Acks of a connection that publishes would not be read.
      let acked = 0
      const consumer = opened.connection.consume(
        { queue, prefetch: 1 },
        (delivery) => void (acked += delivery.ack() ? 1 : 0),
      )
      await waitUntil('all to be consumed', () => acked >= 20)
      await opened.connection.ping(callMs)
      await consumer.close()
      await server.memoryAlarm(false)
      await Promise.all(waiting)
    } finally {
      await server.memoryAlarm(false)
    }
    expect(states).toEqual(['blocked', 'up'])
  }, 60_000)
})

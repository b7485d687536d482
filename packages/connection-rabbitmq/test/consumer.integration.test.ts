import { pluginContext } from '@multinode/core/testing'
import {
  type RabbitmqServer,
  serversAvailable,
  startRabbitmq,
  type TcpProxy,
  tcpProxy,
  waitUntil,
} from '@multinode/testbed'
import { type Channel, type ChannelModel, type ConsumeMessage, connect } from 'amqplib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Delivery } from '../src/index.ts'
import { callMs, openWith } from './open-with.ts'

describe.skipIf(!serversAvailable())('consuming', () => {
  let server: RabbitmqServer
  let proxy: TcpProxy
  let direct: ChannelModel
  let queues = 0

  beforeAll(async () => {
    server = await startRabbitmq()
    proxy = await tcpProxy(server.port)
    direct = await connect(server.url)
  })
  afterAll(async () => {
    await direct.close()
    await proxy.close()
    await server.stop()
  })

  const proxied = (): string => `amqp://127.0.0.1:${proxy.port}`

  async function filledQueue(texts: readonly string[], args: Record<string, unknown> = {}): Promise<string> {
    queues += 1
    const queue = `q${queues}`
    const channel = await direct.createConfirmChannel()
    await channel.assertQueue(queue, { durable: true, arguments: args })
    for (const text of texts) channel.sendToQueue(queue, Buffer.from(text), { persistent: true })
    await channel.waitForConfirms()
    await channel.close()
    return queue
  }

  async function messagesIn(name: string): Promise<number> {
    const channel = await direct.createChannel()
    const { messageCount } = await channel.checkQueue(name)
    await channel.close()
    return messageCount
  }

  /** What is in it when its consumers are gone: only then has the server what they held. */
  async function rest(queue: string): Promise<string[]> {
    const channel = await direct.createChannel()
    await waitUntil('its consumers to be gone', async () => {
      return (await channel.checkQueue(queue)).consumerCount === 0
    })
    const texts: string[] = []
    for (;;) {
      const message = await channel.get(queue, { noAck: true })
      if (message === false) break
      texts.push(message.content.toString())
    }
    await channel.close()
    return texts
  }

  it('is stopped, and takes messages again when it is resumed; what it has can be settled meanwhile, whatever happens to its connection', async () => {
    const queue = await filledQueue(['a', 'b'])
    await using opened = await openWith({ url: proxied() })
    const held: Delivery[] = []
    const consumer = opened.connection.consume({ queue, prefetch: 1 }, (delivery) => void held.push(delivery))
    await waitUntil('the first delivery', () => held.length === 1)
    await consumer.stop(callMs)
    expect(held[0]?.ack()).toBe(true)
    await waitUntil('it to be gone', async () => (await messagesIn(queue)) === 1)
    expect(held).toHaveLength(1)
    await consumer.resume(callMs)
    await waitUntil('the second delivery', () => held.length === 2)
    // Stopped while it is away: it is not attached with the next channel.
    proxy.refuse()
    proxy.reset()
    await waitUntil('the connection to be lost', () => opened.connection.state.status === 'down')
    await consumer.stop(callMs)
    proxy.refuse(false)
    await waitUntil('the connection to be back', () => opened.connection.state.status === 'up')
    await waitUntil('what it held to be back', async () => (await messagesIn(queue)) === 1)
    expect(held).toHaveLength(2)
    await consumer.resume(callMs)
    await waitUntil('it to come again', () => held.length === 3)
    expect(held.map(({ message }) => message.content.toString())).toEqual(['a', 'b', 'b'])
  })

  it('settles what was acknowledged and nothing else, in whatever order many are in one turn', async () => {
    const texts = Array.from({ length: 100 }, (_, index) => `${index}`)
    const queue = await filledQueue(texts)
    await using opened = await openWith({ url: server.url })
    const held: Delivery[] = []
    const consumer = opened.connection.consume(
      { queue, prefetch: 100 },
      (delivery) => void held.push(delivery),
    )
    await waitUntil('all deliveries', () => held.length === 100)
    // The first turn has the begin, a hole, and the end from behind; the second one a part of the hole.
    const first = [...held.slice(0, 40), ...held.slice(50).toReversed()]
    expect(first.map((delivery) => delivery.ack())).toEqual(first.map(() => true))
    await new Promise(setImmediate)
    expect([held[41]?.ack(), held[45]?.nack({ requeue: false }), held[44]?.ack()]).toEqual([true, true, true])
    await consumer.close()
    expect(await rest(queue)).toEqual(['40', '42', '43', '46', '47', '48', '49'])
  })

  it('has its acks at the server when it was closed in the same turn, also with its connection', async () => {
    const queue = await filledQueue(['a', 'b', 'c'])
    const opened = await openWith({ url: server.url })
    const held: Delivery[] = []
    opened.connection.consume({ queue, prefetch: 3 }, (delivery) => void held.push(delivery))
    await waitUntil('all deliveries', () => held.length === 3)
    held[0]?.ack()
    held[1]?.ack()
    await opened[Symbol.asyncDispose]()
    expect(await rest(queue)).toEqual(['c'])
  })

  it('never settles an old delivery on the new channel', async () => {
    const queue = await filledQueue(['a', 'b'])
    await using opened = await openWith({ url: proxied() })
    const held: Delivery[] = []
    const consumer = opened.connection.consume({ queue, prefetch: 1 }, (delivery) => void held.push(delivery))
    await waitUntil('the first delivery', () => held.length === 1)
    proxy.reset()
    await waitUntil('a delivery on the new channel', () => held.length === 2)
    const [stale, current] = held
    // Its tag is that of the one that is being worked at now.
    expect(stale?.message.fields.deliveryTag).toBe(current?.message.fields.deliveryTag)
    expect([stale?.isCurrent, current?.isCurrent]).toEqual([false, true])
    expect([stale?.ack(), stale?.nack()]).toEqual([false, false])
    expect(consumer.staleSettles).toBe(1)
    // Whoever works at the current one dies.
    await consumer.close()
    expect(await rest(queue)).toEqual(['a', 'b'])
  })

  it('would lose it otherwise: a bare client that settles there (the control)', async () => {
    const queue = await filledQueue(['a', 'b'])
    const attach = async (): Promise<{ channel: Channel; message: Promise<ConsumeMessage | null> }> => {
      const client = await connect(proxied())
      client.on('error', () => {})
      const channel = await client.createChannel()
      await channel.prefetch(1)
      const message = new Promise<ConsumeMessage | null>((resolve) => void channel.consume(queue, resolve))
      return { channel, message }
    }
    const stale = await (await attach()).message
    proxy.reset()
    // Else the server may still take it for delivered, and sends the next one.
    await waitUntil('it to be back', async () => (await messagesIn(queue)) === 2)
    const { channel, message } = await attach()
    const current = await message
    expect(current?.content.toString()).toBe('a')
    if (stale !== null) channel.ack(stale)
    await channel.close()
    expect(await rest(queue)).toEqual(['b'])
    proxy.reset()
  })

  it('settles once', async () => {
    const queue = await filledQueue(['a', 'b', 'c'])
    await using opened = await openWith({ url: server.url })
    const held: Delivery[] = []
    const consumer = opened.connection.consume(
      { queue, prefetch: 10 },
      (delivery) => void held.push(delivery),
    )
    await waitUntil('the deliveries', () => held.length === 3)
    const [first, second, third] = held
    expect([
      first?.ack(),
      first?.ack(),
      first?.nack(),
      second?.nack({ requeue: false }),
      third?.nack(),
    ]).toEqual([true, false, false, true, true])
    await waitUntil('the one that went back', () => held.length === 4)
    expect(held[3]?.message.content.toString()).toBe('c')
    expect(held[3]?.ack()).toBe(true)
    await consumer.close()
    await consumer.close()
    expect(await messagesIn(queue)).toBe(0)
    expect(opened.reports).toEqual([])
  })

  it('attaches again when its queue was deleted, as soon as there is one, with arguments asked for anew', async () => {
    const queue = await filledQueue(['a', 'b', 'c'], { 'x-queue-type': 'stream' })
    await using opened = await openWith({ url: server.url })
    const offsets: number[] = []
    const seen: string[] = []
    let next = 0
    const args = (): Record<string, unknown> => {
      offsets.push(next)
      return { 'x-stream-offset': next }
    }
    const consumer = opened.connection.consume({ queue, prefetch: 10, args }, (delivery) => {
      seen.push(delivery.message.content.toString())
      next = Number(delivery.message.properties.headers?.['x-stream-offset']) + 1
      delivery.ack()
    })
    await consumer.whenAttached(callMs)
    await waitUntil('all of the stream', () => seen.length === 3)
    await server.closeConnections()
    await waitUntil('it to be attached at the next offset', () => offsets.includes(3) && consumer.isAttached)
    await expect(consumer.whenAttached(callMs)).resolves.toBeUndefined()
    const channel = await (await reconnected()).createChannel()
    await channel.deleteQueue(queue)
    await waitUntil('the loss to be told', () =>
      opened.reports.some((each) => each.includes('cancelled the consumer')),
    )
    await waitUntil('the failed attempt to be told', () =>
      opened.reports.some((each) => each.includes('no queue')),
    )
    expect(opened.reports.some((each) => each.includes('consuming on the consumer of'))).toBe(true)
    next = 0
    await channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'stream' } })
    channel.sendToQueue(queue, Buffer.from('d'))
    await waitUntil('the new queue to be read', () => seen.includes('d'), { deadlineMs: 20_000 })
    await channel.close()
  }, 60_000)

  async function reconnected(): Promise<ChannelModel> {
    direct = await connect(server.url)
    return direct
  }

  it.each([
    { what: 'consumes it exclusively', replyCode: 403, isOwned: false },
    { what: 'has it for itself', replyCode: 405, isOwned: true },
  ])(
    'waits while another connection $what, says so, and attaches when that is gone; a bare client stays without',
    async ({ replyCode, isOwned }) => {
      const queue = `exclusive ${replyCode}`
      const declare = (channel: Channel): Promise<unknown> =>
        channel.assertQueue(queue, { durable: !isOwned, exclusive: isOwned })
      const holder = await connect(proxied())
      holder.on('error', () => {})
      const holding = await holder.createChannel()
      await declare(holding)
      await holding.consume(queue, () => {}, { exclusive: true })

      await using opened = await openWith({ url: server.url })
      const seen: string[] = []
      let attempts = 0
      const options = {
        queue,
        prefetch: 1,
        exclusive: true,
        setup: async (channel: Channel) => {
          attempts += 1
          await declare(channel)
        },
      }
      const consumer = opened.connection.consume(options, (delivery) => {
        seen.push(delivery.message.content.toString())
        delivery.ack()
      })
      await waitUntil('the first attempt to fail', () => attempts > 1)
      await expect(consumer.whenAttached(1_000)).rejects.toMatchObject({
        code: 'UNAVAILABLE',
        retryable: true,
        outcome: 'not-sent',
        details: { replyCode },
      })
      expect(consumer.isAttached).toBe(false)
      const bare = await connect(server.url)
      const bareChannel = await bare.createChannel()
      let bareIsClosed = false
      bareChannel.on('error', () => {})
      bareChannel.on('close', () => (bareIsClosed = true))
      const attempt = declare(bareChannel).then(() => bareChannel.consume(queue, () => {}))
      await expect(attempt, 'the control').rejects.toThrow(String(replyCode))
      await waitUntil('it to be told', () => opened.reports.length === 1)

      proxy.reset()
      await consumer.whenAttached(20_000)
      const channel = await bare.createConfirmChannel()
      channel.sendToQueue(queue, Buffer.from('a'))
      await waitUntil('the message', () => seen.length === 1)
      expect(opened.reports).toHaveLength(1)
      const { consumers } = (await server.queues()).find(({ name }) => name === queue) ?? {}
      expect([consumers, bareIsClosed]).toEqual([1, true])
      await bare.close()
    },
    60_000,
  )

  it('reaches nobody else when the server closes one channel; on one bare channel all are hit', async () => {
    const queue = await filledQueue([])
    await using opened = await openWith({ url: server.url })
    const seen: string[] = []
    let attachments = 0
    const options = { queue, prefetch: 10, onAttached: () => void (attachments += 1) }
    const consumer = opened.connection.consume(options, (delivery) => {
      seen.push(delivery.message.content.toString())
      delivery.ack()
    })
    let setups = 0
    const broken = opened.connection.channel({
      name: 'the broken one',
      setup: async () => void (setups += 1),
    })
    const other = opened.connection.channel({ name: 'the other one' })
    await Promise.all([consumer.whenAttached(callMs), broken.whenReady(callMs), other.whenReady(callMs)])
    const [first, second] = await Promise.allSettled([
      broken.run('asking for a queue', callMs, (channel) => channel.checkQueue('nowhere')),
      broken.run('asking for another', callMs, (channel) => channel.checkQueue(queue)),
    ])
    expect(first).toMatchObject({
      reason: { code: 'NOT_FOUND', outcome: 'not-sent', details: { replyCode: 404 } },
    })
    expect(String(Reflect.get(first, 'reason'))).toContain('asking for a queue on the broken one failed')
    expect(String(Reflect.get(second, 'reason'))).toContain('the channel was closed by declaring a queue')
    await broken.whenReady(callMs)
    expect(setups).toBe(2)
    await broken.run('asking again', callMs, (channel) => channel.checkQueue(queue))
    await other.run('asking beside', callMs, (channel) => channel.checkQueue(queue))
    await opened.connection
      .publisher()
      .publish({ exchange: '', routingKey: queue, content: Buffer.from('x') })
    await waitUntil('the message', () => seen.length === 1)
    expect([attachments, opened.connection.state.status]).toEqual([1, 'up'])
    // Who called was told.
    expect(opened.reports).toEqual([])

    const bare = await direct.createChannel()
    bare.on('error', () => {})
    await bare.checkQueue('nowhere').catch(() => {})
    await expect((async () => bare.checkQueue(queue))()).rejects.toThrow('Channel closed')
  })

  it('stops, and lets what came be settled', async () => {
    const queue = await filledQueue(['a', 'b'])
    await using opened = await openWith({ url: server.url })
    const held: Delivery[] = []
    const consumer = opened.connection.consume({ queue, prefetch: 1 }, (delivery) => void held.push(delivery))
    await waitUntil('the first', () => held.length === 1)
    await consumer.stop(callMs)
    expect(held[0]?.ack()).toBe(true)
    await consumer.close()
    expect(held).toHaveLength(1)
    expect(await messagesIn(queue)).toBe(1)
  })

  it('asks seldom for what the server refuses for a reason that lasts', async () => {
    const { clock } = pluginContext()
    const pausesMs: number[] = []
    const setTimer: typeof clock.setTimer = (callback, ms, kind) => {
      if (kind === 'foreground') return clock.setTimer(callback, ms, kind)
      pausesMs.push(ms)
      return clock.setTimer(callback, Math.min(ms, 20), kind)
    }
    await using opened = await openWith({ url: server.url }, { clock: { ...clock, setTimer } })
    let tries = 0
    const setup = async (channel: Channel): Promise<void> => {
      tries += 1
      await channel.checkQueue('of-nobody')
    }
    opened.connection.consume({ queue: 'of-nobody', prefetch: 1, setup }, () => {})
    await waitUntil('it to be refused many times', () => tries >= 25)
    expect(pausesMs.filter((ms) => ms > 1_000).length).toBeGreaterThan(2)
    expect(Math.max(...pausesMs)).toBeLessThanOrEqual(3_000)
    expect(opened.reports).toHaveLength(1)
  })

  it('survives a callback that throws or rejects, and tells it', async () => {
    const queue = await filledQueue(['a', 'b', 'c'])
    await using opened = await openWith({ url: server.url })
    let seen = 0
    opened.connection.consume({ queue, prefetch: 1 }, (delivery) => {
      delivery.ack()
      seen += 1
      if (seen === 1) throw new Error('thrown')
      return seen === 2 ? Promise.reject(new Error('rejected')) : undefined
    })
    await waitUntil('all', () => seen === 3)
    await waitUntil('both to be told', () => opened.reports.length === 2)
    expect(opened.reports).toEqual(['Error: thrown', 'Error: rejected'])
  })
})

import {
  type RabbitmqServer,
  serversAvailable,
  startRabbitmq,
  stolenMs,
  type TcpProxy,
  tcpProxy,
  waitUntil,
} from '@multinode/testbed'
import { type ConfirmChannel, type ConsumeMessage, connect } from 'amqplib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { OutgoingMessage, Publisher, RabbitmqConnection } from '../src/index.ts'
import { bytesHeld, collectGarbage } from './collect-garbage.ts'
import { callMs, openWith } from './open-with.ts'
import { settled } from './settled.ts'

interface Writes {
  all: number
  full: number
  whileFull: number
}

/** Whether nothing was written for twenty looks. */
function stands(writes: Writes): () => boolean {
  let last = -1
  let looks = 0
  return () => {
    looks = writes.all === last ? looks + 1 : 0
    last = writes.all
    return looks === 20
  }
}

describe.skipIf(!serversAvailable())('publishing', () => {
  let server: RabbitmqServer
  let proxy: TcpProxy
  let queues = 0

  beforeAll(async () => {
    const write = '^(?!amq[.]default$)'
    server = await startRabbitmq({
      users: [{ name: 'named', password: 'secret', vhosts: { '/': { write } } }],
    })
    proxy = await tcpProxy(server.port)
  })
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
    await waitUntil('all messages', () => messages.length >= messageCount)
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
    const states: string[] = []
    opened.connection.onState(({ status }) => states.push(status))
    const bare = await connect(proxied())
    bare.on('error', () => {})
    const bareChannel = await bare.createConfirmChannel()
    const lost: unknown[] = []
    for (let n = 0; n < 200; n += 1)
      bareChannel.sendToQueue('', Buffer.from('x'), {}, (error) => error && lost.push(error))
    const first = numbered(publisher, queue, 0, 1_000)
    expect(publisher.unconfirmed).toBe(1_000)
    proxy.reset()
    const second = numbered(publisher, queue, 1_000, 1_000)
    await Promise.all([...first, ...second])
    expect(states).toEqual(['down', 'up'])
    await waitUntil('the bare client to lose its confirms', () => lost.length === 200)
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

  it('refuses headers that are too large for a frame; a bare client pays with its connection', async () => {
    await using opened = await openWith({ url: server.url, frameMax: 4_096 })
    const publisher = opened.connection.publisher()
    const headers = { x: 'y'.repeat(5_000) }
    await expect(publisher.publish(to('nobody', 'x', { headers }))).rejects.toMatchObject({
      code: 'TOO_LARGE',
      outcome: 'not-sent',
    })
    await publisher.publish(to('nobody', 'x', { headers: { x: 'y'.repeat(1_900) } }))
    expect(opened.connection.state.status).toBe('up')

    const bare = await connect(`${server.url}?frameMax=4096`)
    const errors: string[] = []
    bare.on('error', (error) => errors.push(String(error)))
    const channel = await bare.createConfirmChannel()
    channel.publish('', 'nobody', Buffer.from('x'), { headers })
    await waitUntil('the bare connection to be closed', () => errors.length > 0)
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

  it('rejects at once what the user may not send to a queue by its name', async () => {
    await using opened = await openWith({ url: server.urlOf('named') }, { report: () => {} })
    const publisher = opened.connection.publisher()
    const { error } = await settled(publisher.publish(to('nobody', 'refused'), 30_000))
    expect(error).toMatchObject({ code: 'MISCONFIGURED' })
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
    await expect(connect(proxied()), 'the control: the server is away').rejects.toThrow()
    expect([publisher.unconfirmed, await contentOf(queue)]).toEqual([10, []])
    proxy.heal()
    await Promise.all(buffered)
    await expect(publisher.publish(to(queue, 'y'.repeat(1_001)))).rejects.toMatchObject({ code: 'EXHAUSTED' })
    expect((await contentOf(queue)).map(({ text }) => Number(text))).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  })

  it('settles by the deadline, with the truth, when no confirm comes, and goes on', async () => {
    await using opened = await openWith({ url: proxied() })
    const queue = await freshQueue(opened.connection)
    const publisher = opened.connection.publisher({ confirmTimeoutMs: 500 })
    await publisher.publish(to(queue, 'first'), 15_000)
    proxy.blackhole(true)
    const { error, ms } = await settled(publisher.publish(to(queue, 'second')))
    expect(error).toMatchObject({ code: 'TIMEOUT', outcome: 'unknown' })
    expect(ms).toBeLessThan(3_000 + stolenMs())
    const { error: unsent } = await settled(publisher.publish(to(queue, 'third')))
    expect(unsent).toMatchObject({ code: 'TIMEOUT', outcome: 'not-sent' })
    proxy.heal()
    await publisher.publish(to(queue, 'fourth'), 15_000)
    const texts = (await contentOf(queue)).map(({ text }) => text)
    expect(texts).not.toContain('third')
    expect(texts).toContain('fourth')
  })

  it('keeps nothing of what was settled while nothing can be sent', async () => {
    await using opened = await openWith({ url: proxied() })
    const publisher = opened.connection.publisher()
    await publisher.whenReady(callMs)
    proxy.refuse(true)
    proxy.reset()
    await waitUntil('it to be down', () => opened.connection.state.status === 'down')
    const publish = (timeoutMs: number): { content: WeakRef<Buffer>; published: Promise<unknown> } => {
      const content = Buffer.alloc(100_000)
      const message = { exchange: '', routingKey: 'nobody', content }
      return { content: new WeakRef(content), published: settled(publisher.publish(message, timeoutMs)) }
    }
    const waiting = publish(60_000)
    const past = Array.from({ length: 20 }, () => publish(50))
    for (const { published } of past) expect(await published).toMatchObject({ error: { code: 'TIMEOUT' } })
    await waitUntil('them to be forgotten', () => {
      collectGarbage()
      return past.every(({ content }) => content.deref() === undefined)
    })
    expect(waiting.content.deref(), 'the control: what still waits is there').toBeDefined()
    proxy.heal()
    expect(await waiting.published).toMatchObject({ error: undefined })
  })

  /** Counts what is written to a channel, and what of that after it had said that it is full. */
  function watchWrites(channel: ConfirmChannel): Writes {
    const writes = { all: 0, full: 0, whileFull: 0 }
    let isFull = false
    const publish = channel.publish.bind(channel)
    channel.publish = (...args) => {
      writes.all += 1
      if (isFull) writes.whileFull += 1
      isFull = !publish(...args)
      if (isFull) writes.full += 1
      return !isFull
    }
    channel.prependListener('drain', () => (isFull = false))
    return writes
  }

  it('writes no more than the channel takes while the server does not read, and all arrives when it does; a bare client keeps all in memory', async ({
    annotate,
  }) => {
    const count = 20_000
    const content = Buffer.alloc(1_500)
    await using opened = await openWith({ url: server.url, heartbeat: 60 })
    const queue = await freshQueue(opened.connection)
    const channels: Writes[] = []
    const publisher = opened.connection.publisher({
      maxUnconfirmed: count,
      maxBytes: count * content.length,
      confirmTimeoutMs: 60_000,
      setup: async (channel) => void channels.push(watchWrites(channel)),
    })
    await publisher.whenReady(callMs)
    const [writes] = channels
    if (writes === undefined) throw new Error('there is no channel')
    const bare = await connect(server.url)
    bare.on('error', () => {})
    const bareChannel = await bare.createConfirmChannel()
    const bareWrites = watchWrites(bareChannel)
    await server.pause()
    try {
      const before = bytesHeld()
      const message = { exchange: '', routingKey: queue, content }
      const published = settled(Promise.all(Array.from({ length: count }, () => publisher.publish(message))))
      await waitUntil('it to write no more', stands(writes))
      const held = bytesHeld() - before
      const written = writes.all
      for (let n = 0; n < count; n += 1) bareChannel.publish('', 'nobody', content)
      await waitUntil('the bare one to write no more', stands(bareWrites))
      const bareHeld = bytesHeld() - before - held
      await annotate(`${written} of ${count} written; ${held} bytes held, by a bare client ${bareHeld}`)
      expect(writes.all).toBe(written)
      expect(written).toBeLessThan(count / 2)
      // The kernel takes some of what is written, or nothing; what surrounds a content is shorter than that.
      expect(held).toBeLessThan(written * 2 * content.length)
      expect(bareWrites, 'the control').toMatchObject({ all: count })
      expect(bareWrites.whileFull, 'the control').toBeGreaterThan(count / 2)
      expect(bareHeld, 'the control').toBeGreaterThan((count * content.length) / 2)
      server.resume()
      expect((await published).error).toBeUndefined()
      await bareChannel.waitForConfirms()
    } finally {
      server.resume()
    }
    expect([writes.all, writes.whileFull, channels.length]).toEqual([count, 0, 1])
    expect(writes.full).toBeGreaterThan(1)
    expect((await server.queues()).find(({ name }) => name === queue)?.messages).toBe(count)
    await bare.close()
  }, 60_000)

  it('knows that the server still lacks memory when it was cut off meanwhile', async () => {
    const proxy = await tcpProxy(server.port)
    const url = `amqp://127.0.0.1:${proxy.port}`
    await using opened = await openWith({ url }, { callTimeoutMs: 2_000 })
    const { connection } = opened
    const queue = await freshQueue(connection)
    const publisher = connection.publisher()
    // Not back before the other one has sent again what it has, so that the server reads nothing more of either.
    const other = connection.publisher({
      setup: async (channel) => {
        for (let n = 0; n < 3; n += 1) await channel.assertExchange('knows', 'fanout')
      },
    })
    await other.whenReady(callMs)
    await server.memoryAlarm(true)
    try {
      const waiting = publisher.publish(to(queue, 'blocked'), 60_000)
      await waitUntil('it to be blocked', () => connection.state.status === 'blocked')
      // It may be down for less than the pause between two looks.
      const states: string[] = []
      connection.onState(({ status }) => states.push(status))
      proxy.reset()
      await waitUntil('it to be down', () => states.includes('down'))
      await waitUntil('it to be blocked again', () => connection.state.status === 'blocked', {
        deadlineMs: 20_000,
      })
      expect(connection.state.reason).toContain('memory')
      await server.memoryAlarm(false)
      await waiting
      await waitUntil('it to be up', () => connection.state.status === 'up')
    } finally {
      await server.memoryAlarm(false)
      await proxy.close()
    }
  }, 60_000)

  it('waits while the server lacks memory, within its bounds; consuming goes on', async () => {
    await using opened = await openWith({ url: server.url })
    const queue = await freshQueue(opened.connection)
    const publisher = opened.connection.publisher({ maxUnconfirmed: 50 })
    await Promise.all(numbered(publisher, queue, 0, 20))
    const states: string[] = []
    opened.connection.onState(({ status }) => states.push(status))
    // A bare client that publishes and consumes on one connection.
    const bare = await connect(server.url)
    bare.on('error', () => {})
    const bareChannel = await bare.createConfirmChannel()
    let confirmed = 0
    const count = (): void => void (confirmed += 1)
    await server.memoryAlarm(true)
    try {
      bareChannel.publish('', 'nobody', Buffer.from('x'), {}, count)
      const bareCall = bareChannel.prefetch(1).then(count)
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
      await waitUntil('the server to have all acks', async () => {
        return acked === 20 && (await server.queues()).find(({ name }) => name === queue)?.messages === 0
      })
      await opened.connection.ping(callMs)
      await consumer.close()
      for (const each of waiting) void each.then(count)
      await opened.connection.ping(callMs)
      expect(confirmed, 'the control: nothing is confirmed, and a bare client gets no answer').toBe(0)
      await server.memoryAlarm(false)
      await Promise.all([...waiting, bareCall])
      await bare.close()
    } finally {
      await server.memoryAlarm(false)
    }
    expect(states).toEqual(['blocked', 'up'])
  }, 60_000)
})

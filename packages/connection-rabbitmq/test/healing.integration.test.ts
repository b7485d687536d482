import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pluginContext } from '@multinode/core/testing'
import {
  figure,
  type RabbitmqServer,
  serversAvailable,
  spawnNode,
  startRabbitmq,
  stolenMs,
  type TcpProxy,
  tcpProxy,
  waitUntil,
  withOwnLateness,
} from '@multinode/testbed'
import { type Channel, connect } from 'amqplib'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { openRabbitmq, type RabbitmqConnection } from '../src/index.ts'
import { callMs, openWith } from './open-with.ts'
import { settled } from './settled.ts'

const patienceMs = 20_000

describe.skipIf(!serversAvailable())('a connection', () => {
  let server: RabbitmqServer
  let proxy: TcpProxy

  beforeAll(async () => {
    server = await startRabbitmq()
    proxy = await tcpProxy(server.port)
  })
  afterEach(async () => {
    proxy.heal()
    // A test that failed must not make the next ones fail.
    if (server.state !== 'running') await server.restart()
  })
  afterAll(async () => {
    await proxy.close()
    await server.stop()
  })

  const proxied = (): string => `amqp://127.0.0.1:${proxy.port}`

  async function answers(connection: RabbitmqConnection): Promise<boolean> {
    return (await settled(connection.ping(callMs))).error === undefined
  }

  /** A connection with all that can live on one, and what it has seen. */
  async function busy(url: string, queue: string, heartbeat = 6) {
    const opened = await openWith({ url, heartbeat })
    const { connection } = opened
    const order: string[] = []
    const states: string[] = []
    const seen = new Set<string>()
    connection.onState(({ status }) => {
      states.push(status)
      order.push(status)
    })
    const topology = connection.channel({
      name: 'the topology',
      setup: async (channel) => {
        await channel.assertQueue(queue, { durable: true })
        order.push('topology')
      },
    })
    await topology.whenReady(callMs)
    const consumer = connection.consume(
      { queue, prefetch: 100, onAttached: () => void order.push('consumer') },
      (delivery) => {
        seen.add(delivery.message.content.toString())
        delivery.ack()
      },
    )
    await consumer.whenAttached(callMs)
    const publisher = connection.publisher({ confirmTimeoutMs: 60_000 })
    let published = 0
    const publish = async (): Promise<void> => {
      const text = `${queue} ${published}`
      published += 1
      await publisher.publish({
        exchange: '',
        routingKey: queue,
        content: Buffer.from(text),
        options: { persistent: true },
      })
    }
    await publish()
    const arrived = (): Promise<unknown> =>
      waitUntil('all to arrive', () => seen.size === published, { deadlineMs: patienceMs })
    await arrived()
    order.length = 0
    return { ...opened, [Symbol.asyncDispose]: opened[Symbol.asyncDispose], order, states, publish, arrived }
  }

  it.each<readonly [string, () => unknown]>([
    ['a reset', () => proxy.reset()],
    ['an orderly close', () => proxy.fin()],
    ['a close by the server', () => server.closeConnections()],
  ])('is whole again after %s, and up only then', async (what, fault) => {
    await using node = await busy(proxied(), `heals ${what}`)
    await fault()
    await waitUntil('it to be down', () => node.states.includes('down'))
    await Promise.all([node.publish(), node.publish()])
    await node.arrived()
    await waitUntil('it to be up', () => node.states.at(-1) === 'up')
    expect(node.order).toEqual(['down', 'topology', 'consumer', 'up'])
    await node.connection.ping(callMs)
    expect(node.reports).toEqual([])
  })

  it('is whole again after an internal error of the server (541), which a bare client does not survive', async () => {
    await using node = await busy(server.url, 'internal error')
    const asking = node.connection.channel({ name: 'the one that asks' })
    await asking.whenReady(callMs)
    const reasons: unknown[] = []
    node.connection.onState(({ reason }) => reasons.push(reason))
    const bare = await connect(server.url)
    const bareErrors: string[] = []
    bare.on('error', (error) => bareErrors.push(String(error)))
    await bare.createChannel()
    // What serves a channel hangs and then dies, as it may when it meets a queue whose leader has just died.
    await server.evaluate('[sys:suspend(Pid) || Pid <- rabbit_channel:list_local()], true')
    const published = Array.from({ length: 100 }, () => node.publish())
    const waiting = settled(
      asking.run('asking', patienceMs, (channel) => channel.checkQueue('internal error')),
    )
    await server.evaluate('[exit(Pid, kill) || Pid <- rabbit_channel:list_local()], true')
    expect((await waiting).error).toMatchObject({ code: 'UNAVAILABLE', outcome: 'unknown' })
    expect(reasons[0]).toContain('INTERNAL_ERROR')
    await waitUntil('the control: a bare client is closed', () => bareErrors.length > 0)
    expect(bareErrors[0]).toContain('541 (INTERNAL-ERROR)')
    await Promise.all(published)
    await node.arrived()
    await waitUntil('it to be up', () => node.states.at(-1) === 'up')
    await node.connection.ping(callMs)
  })

  const resets = figure({ slice: 30, full: 200 })

  it(`comes back from each of ${resets} resets while it is being set up, and nothing is lost`, async () => {
    await using node = await busy(proxied(), 'resets')
    let setups = 0
    const setup = async (channel: Channel): Promise<void> => {
      setups += 1
      for (let n = 0; n < 5; n += 1) await channel.assertQueue(`slow ${n}`)
    }
    await node.connection.channel({ name: 'the slow one', setup }).whenReady(callMs)
    const published: Promise<void>[] = []
    for (let round = 0; round < resets; round += 1) {
      const before = setups
      published.push(node.publish())
      proxy.reset()
      await waitUntil('the next set-up', () => setups > before, { deadlineMs: patienceMs, everyMs: 1 })
      proxy.reset()
      await waitUntil('it to be up', () => setups > before + 1 && node.connection.state.status === 'up', {
        deadlineMs: patienceMs,
      })
    }
    await Promise.all(published)
    await node.arrived()
    expect(await answers(node.connection)).toBe(true)
  }, 240_000)

  it('would die of one of them with the recovery of amqplib (the control)', async () => {
    await using child = await spawnNode(new URL('fixtures/recovery.ts', import.meta.url), {
      env: { RABBITMQ_URL: proxied() },
    })
    let isOver = false
    void child.exited.then(() => (isOver = true))
    for (let round = 0; round < 20 && !isOver; round += 1) {
      const next = await settled(child.nextLine('setup', patienceMs))
      if (next.error === undefined) proxy.reset()
    }
    expect(isOver).toBe(true)
  }, 60_000)

  it('notices a half-open link within 20 s, settles what is under way, and is whole again; a bare client goes on in the dark', async () => {
    await using node = await busy(proxied(), 'half open')
    const patient = node.connection.channel({ name: 'the patient one' })
    await patient.whenReady(callMs)
    const bare = await connect(proxied())
    bare.on('error', () => {})
    const bareChannel = await bare.createChannel()
    const startedAt = performance.now()
    proxy.blackhole(true)
    let bareIsTold = false
    const bareCall = settled(bareChannel.prefetch(1)).finally(() => (bareIsTold = true))
    const waiting = settled(patient.run('asking', 60_000, (channel) => channel.checkQueue('half open')))
    const publishedBefore = node.publish()
    const { error } = await settled(node.connection.ping(1_000))
    expect(error).toMatchObject({ code: 'TIMEOUT', outcome: 'unknown' })
    expect((await waiting).error).toMatchObject({ code: 'UNAVAILABLE', outcome: 'unknown' })
    await waitUntil('it to be down', () => node.states.includes('down'))
    expect(performance.now() - startedAt).toBeLessThan(20_000 + stolenMs())
    expect(bareIsTold, 'the control: a call of a bare client').toBe(false)
    const published = node.publish()
    proxy.heal()
    await Promise.all([publishedBefore, published])
    expect((await bareCall).error).toBeDefined()
    await node.arrived()
    await waitUntil('it to be up', () => node.states.at(-1) === 'up')
  }, 60_000)

  it('refuses at once while the server is away, and is whole again after its SIGKILL and restart; a bare client loses what was under way', async () => {
    await using node = await busy(server.url, 'killed')
    const bare = await connect(server.url)
    bare.on('error', () => {})
    const bareChannel = await bare.createConfirmChannel()
    let bareLost = 0
    for (let n = 0; n < 100; n += 1)
      bareChannel.sendToQueue('killed', Buffer.from('x'), {}, (error) => (bareLost += error === null ? 0 : 1))
    const underWay = Array.from({ length: 100 }, () => node.publish())
    await server.kill()
    await waitUntil('the bare client to be told', () => bareLost > 0)
    await waitUntil('both of its connections to be down', () => {
      return (
        node.connection.native === undefined &&
        node.connection.state.reason?.includes('ECONNREFUSED') === true
      )
    })
    const { result, mostMs } = await withOwnLateness(() => settled(node.connection.ping(callMs)))
    expect(result.error).toMatchObject({ code: 'UNAVAILABLE', outcome: 'not-sent' })
    expect(result.ms).toBeLessThan(1_000 + mostMs)
    const published = [node.publish(), node.publish()]
    await server.restart()
    await Promise.all([...underWay, ...published])
    await node.arrived()
    await waitUntil('it to be up', () => node.states.at(-1) === 'up', { deadlineMs: patienceMs })
  }, 90_000)

  it('outlives a server that stands still for 4 s', async () => {
    await using node = await busy(server.url, 'paused')
    const bare = await connect(server.url)
    const bareChannel = await bare.createChannel()
    await server.pause()
    let answered = 0
    const count = (): void => void (answered += 1)
    const published = [node.publish(), node.publish()]
    const all = [...published, bareChannel.prefetch(1)].map((each) => each.then(count))
    const { error } = await settled(node.connection.ping(3_900))
    expect(answered, 'the control: nothing is confirmed, and a bare client hears nothing').toBe(0)
    server.resume()
    expect(error).toMatchObject({ code: 'TIMEOUT' })
    await Promise.all(all)
    await bare.close()
    await node.arrived()
    await waitUntil('it to answer', () => answers(node.connection))
    expect(node.states).toEqual([])
  }, 60_000)

  it('is made although one of several servers is dead, and made again when another one dies', async () => {
    const other = await tcpProxy(server.port)
    try {
      const urls = [proxied(), `amqp://127.0.0.1:${other.port}`]
      await using node = await openWith({ urls })
      for (const [away, there] of [
        [proxy, other],
        [other, proxy],
      ] as const) {
        there.heal()
        away.refuse(true)
        away.reset()
        await waitUntil(
          'the other to be taken',
          () => there.connections() === 2 && away.connections() === 0,
          {
            deadlineMs: patienceMs,
          },
        )
        await waitUntil('it to be up', () => node.connection.state.status === 'up', {
          deadlineMs: patienceMs,
        })
        await node.connection.ping(callMs)
      }
      expect(node.reports).toEqual([])
      await expect(connect(`amqp://127.0.0.1:${other.port}`), 'the control: it is dead').rejects.toThrow()
      // Some starts take the dead one first.
      for (let n = 0; n < 5; n += 1) {
        await using another = await openWith({ urls })
        await another.connection.ping(callMs)
      }
    } finally {
      await other.close()
    }
  }, 60_000)

  it('is made again later each time when it never lasts', async () => {
    const { clock } = pluginContext()
    const pausesMs: number[] = []
    const setTimer: typeof clock.setTimer = (callback, ms, kind) => {
      // Deadlines are longer.
      if (kind === 'foreground' && ms <= 800) pausesMs.push(ms)
      return clock.setTimer(callback, ms, kind)
    }
    await using opened = await openWith({ url: proxied() }, { clock: { ...clock, setTimer } })
    let losses = 0
    const stop = opened.connection.onState(({ status }) => {
      if (status !== 'up') return
      losses += 1
      proxy.reset()
    })
    proxy.reset()
    await waitUntil('it to be lost many times', () => losses >= 12, { deadlineMs: patienceMs })
    stop()
    // Pauses are random: all of them below this comes up once in a million times.
    expect(Math.max(...pausesMs)).toBeGreaterThan(200)
  })

  it('tells a login that is refused later, and tries again seldom', async () => {
    let password = 'guest'
    const askedAtMs: number[] = []
    const ask = (): string => {
      askedAtMs.push(performance.now())
      return password
    }
    await using node = await openWith({
      host: `127.0.0.1:${proxy.port}`,
      user: 'guest',
      password: ask,
    })
    askedAtMs.length = 0
    password = 'hunter2'
    proxy.reset()
    await waitUntil('it to be told', () => node.reports.length >= 2)
    expect(node.reports[0]).toContain('User or password are wrong')
    expect(node.connection.state).toMatchObject({ status: 'down' })
    expect(node.connection.state.reason).toContain('Login was refused')
    expect(node.reports.join()).not.toContain('hunter2')
    password = 'guest'
    await waitUntil('it to be up', () => node.connection.state.status === 'up', { deadlineMs: patienceMs })
    // Once for each of the two connections.
    expect(node.reports).toHaveLength(2)
    expect(askedAtMs, 'each of them is refused once, and then let in').toHaveLength(4)
    // From when the second one was refused until both were let in, whenever this process has seen that.
    const [, refusedAtMs = NaN, , letInAtMs = NaN] = askedAtMs
    expect(letInAtMs - refusedAtMs).toBeGreaterThan(4_000)
  }, 60_000)

  describe('of a process', () => {
    const open = new URL('fixtures/open.ts', import.meta.url)
    const retry = new URL('fixtures/retry-at-once.ts', import.meta.url)
    const stalled = new URL('fixtures/stalled.ts', import.meta.url)

    it('whose event loop stands still for 6 heartbeats is whole again behind it: nothing is settled on another channel, nothing is lost', async () => {
      await using stack = new AsyncDisposableStack()
      const client = stack.adopt(await connect(server.url), (model) => model.close())
      const channel = await client.createConfirmChannel()
      for (const queue of ['in', 'out']) await channel.assertQueue(queue)
      for (const text of ['a', 'b']) channel.sendToQueue('in', Buffer.from(text), { persistent: true })
      await channel.waitForConfirms()
      await using node = await spawnNode(stalled, { env: { RABBITMQ_URL: server.url } })
      const first = await node.nextLine('got a', 20_000)
      const closedBefore = missedHeartbeats()
      await node.stall(6_000)
      await node.nextLine('down', patienceMs)
      // It says so in its log a moment later.
      await waitUntil('the control: the server to close both', () => missedHeartbeats() - closedBefore === 2)
      // With the tag of the one that came first.
      expect(await node.nextLine('got a', patienceMs)).toBe(first)
      await node.nextLine('up', patienceMs)
      node.send('settle')
      expect(await node.nextLine('sent', patienceMs)).toBe('sent false')
      node.send('end')
      const published = Number(/\d+/.exec(await node.nextLine('published', patienceMs)))
      await node.kill()
      await waitUntil('what it held to be back', async () => {
        return (await channel.checkQueue('in')).messageCount === 2
      })
      expect(await allOf(channel, 'in')).toEqual(['a', 'b'])
      const numbers = new Set((await allOf(channel, 'out')).map(Number))
      expect(published).toBeGreaterThan(0)
      expect(numbers).toEqual(new Set(Array.from({ length: published }, (_, n) => n)))
      expect(node.output()).not.toContain('report')
    }, 90_000)

    /** For which the server has closed a connection, as it writes into its log. */
    function missedHeartbeats(): number {
      const folder = join(server.folder, 'log')
      const log = readdirSync(folder).map((name) => readFileSync(join(folder, name), 'utf8'))
      return log.join('').split('missed heartbeats from client').length - 1
    }

    async function allOf(channel: Channel, queue: string): Promise<string[]> {
      const texts: string[] = []
      for (;;) {
        const message = await channel.get(queue, { noAck: true })
        if (message === false) return texts
        texts.push(message.content.toString())
      }
    }

    async function close(
      url: string,
      fault: () => unknown,
      control = '',
    ): Promise<{ ms: number; codes: string; ends: boolean }> {
      await using node = await spawnNode(open, { env: { RABBITMQ_URL: url, CONTROL: control } })
      await node.nextLine('open', 20_000)
      await fault()
      node.send('close')
      const [, ms, codes = ''] = /closed (\S+) (\S+)/.exec(await node.nextLine('closed', 20_000)) ?? []
      const ends = await settled(node.nextLine('ended', 5_000))
      return { ms: Number(ms), codes, ends: ends.error === undefined }
    }

    it.each<readonly [string, () => unknown, RegExp]>([
      ['a server that answers', () => {}, /^(CLOSED|done),(CLOSED|done)$/],
      ['a server that is silent', () => proxy.blackhole(true), /^CLOSED,CLOSED$/],
      [
        'a server that is gone',
        () => {
          proxy.refuse(true)
          proxy.reset()
        },
        /^CLOSED,(CLOSED|UNAVAILABLE)$/,
      ],
      [
        'a server that is silent since it was connected to again',
        async () => {
          proxy.refuse(true)
          proxy.reset()
          await waitUntil('all to be cut off', () => proxy.connections() === 0)
          proxy.blackhole(true)
          proxy.refuse(false)
          await waitUntil('both to be tried again', () => proxy.connections() === 2)
        },
        /^CLOSED,(CLOSED|UNAVAILABLE)$/,
      ],
    ])(
      'ends with its close, which leaves nothing behind, with %s',
      async (_, fault, expected) => {
        const { ms, codes, ends } = await close(proxied(), fault)
        expect(ends).toBe(true)
        expect(ms).toBeLessThan(3_000 + stolenMs())
        expect(codes).toMatch(expected)
      },
      60_000,
    )

    it('would not end with a bare client open (the control)', async () => {
      const { ends } = await close(proxied(), () => {}, 'bare client')
      expect(ends).toBe(false)
    }, 60_000)

    it.each<readonly [boolean, string]>([
      [true, ''],
      [false, 'refused in the same turn'],
    ])(
      'comes back: %s, when it tries again without any pause %s',
      async (works, control) => {
        await using node = await spawnNode(retry, { env: { RABBITMQ_URL: proxied(), CONTROL: control } })
        await node.nextLine('begun', 20_000)
        proxy.reset()
        await node.nextLine('failed', 10_000)
        const again = await settled(node.nextLine('works again', works ? 10_000 : 3_000))
        expect(again.error === undefined).toBe(works)
      },
      60_000,
    )
  })

  it('is shared by drivers of one cluster object on one address, and is two sockets', async () => {
    await waitUntil('those of other tests to be gone', () => proxy.connections() === 0)
    const context = pluginContext({ address: { url: proxied(), source: 'RABBITMQ_URL' } })
    const shares = await Promise.all([
      openRabbitmq({}, context),
      openRabbitmq({ url: `${proxied()}/` }, context),
    ])
    const [first, second] = shares
    expect(second.connection).toBe(first.connection)
    expect(proxy.connections()).toBe(2)
    await first.release()
    await second.connection.ping(callMs)
    await second.release()
    await waitUntil('both to be closed', () => proxy.connections() === 0)
    const { error } = await settled(second.connection.ping(callMs))
    expect(error).toMatchObject({ code: 'CLOSED', outcome: 'not-sent' })
  })
})

import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { connect, type ChannelModel } from 'amqplib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  processState,
  type RabbitmqServer,
  serversAvailable,
  startRabbitmq,
  waitUntil,
} from '../src/index.ts'

/** A boot takes 4 s on an idle machine, several times that beside other tests, and two minutes are what the testbed gives it. */
const timeout = 180_000

async function connected(url: string): Promise<ChannelModel> {
  const client = await connect(url)
  // Told to 'close' as well; without a listener it would end the process.
  client.on('error', () => {})
  return client
}

/** Not `once`, which an 'error' before it rejects. */
function closeOf(client: ChannelModel): Promise<void> {
  return new Promise((resolve) => {
    client.once('close', () => resolve())
  })
}

async function send(client: ChannelModel, queue: string, text: string): Promise<void> {
  const channel = await client.createConfirmChannel()
  channel.sendToQueue(queue, Buffer.from(text), { persistent: true })
  await channel.waitForConfirms()
  await channel.close()
}

async function receive(client: ChannelModel, queue: string): Promise<string | undefined> {
  const channel = await client.createChannel()
  const message = await channel.get(queue, { noAck: true })
  await channel.close()
  return message ? message.content.toString() : undefined
}

describe.skipIf(!serversAvailable())('startRabbitmq', { timeout }, () => {
  const users = [
    { name: 'app', password: 'p"a\\s:s/', vhosts: { '/': { configure: '^app', write: '' }, 'v h/2': {} } },
  ]
  let rabbitmq: RabbitmqServer

  beforeAll(async () => {
    rabbitmq = await startRabbitmq({ users, config: ['channel_max = 17'] })
  }, timeout)

  afterAll(async () => {
    await rabbitmq.stop()
  })

  it('keeps a durable message over kill -9 and restart', async () => {
    const before = await connected(rabbitmq.url)
    const channel = await before.createChannel()
    await channel.assertQueue('durable', { durable: true })
    await channel.assertQueue('fleeting', { durable: false, exclusive: true })
    await send(before, 'durable', 'kept')
    const { pid } = rabbitmq
    const closed = closeOf(before)
    expect(await rabbitmq.kill()).toEqual({ code: null, signal: 'SIGKILL' })
    await closed
    expect(rabbitmq.state).toBe('gone')
    await expect(connect(rabbitmq.url)).rejects.toThrow('ECONNREFUSED')
    await rabbitmq.restart()
    expect(rabbitmq.pid).not.toBe(pid)
    expect((await rabbitmq.queues()).map(({ name }) => name)).toEqual(['durable'])
    const after = await connected(rabbitmq.url)
    expect(await receive(after, 'durable')).toBe('kept')
    await after.close()
    await rabbitmq.deleteQueue('durable')
  })

  it('restarts a running server on the same port', async () => {
    const { port, pid } = rabbitmq
    await rabbitmq.restart()
    expect(processState(pid)).toBe('gone')
    const client = await connected(`amqp://127.0.0.1:${port}`)
    await client.close()
  })

  it('answers nothing while paused, and everything after resume', async () => {
    const client = await connected(rabbitmq.url)
    await rabbitmq.pause()
    expect(rabbitmq.state).toBe('stopped')
    let answered = false
    const channel = client.createChannel().finally(() => (answered = true))
    await expect(waitUntil('an answer', () => answered, { deadlineMs: 300 })).rejects.toThrow('300 ms')
    rabbitmq.resume()
    await channel
    await client.close()
  })

  it('blocks a client that publishes while its memory alarm is on, and no longer', async () => {
    const client = await connected(rabbitmq.url)
    const channel = await client.createConfirmChannel()
    await channel.assertQueue('alarm', { durable: true })
    const blocked = once(client, 'blocked')
    await rabbitmq.memoryAlarm(true)
    const confirmed = new Promise((resolve) => {
      channel.sendToQueue('alarm', Buffer.from('late'), {}, resolve)
    })
    expect(await blocked).toEqual(['low on memory'])
    expect((await rabbitmq.queues())[0]).toMatchObject({ name: 'alarm', messages: 0 })
    const unblocked = once(client, 'unblocked')
    await rabbitmq.memoryAlarm(false)
    await unblocked
    await confirmed
    await client.close()
    await rabbitmq.deleteQueue('alarm')
  })

  it('closes all connections with a reason', async () => {
    const clients = await Promise.all([connect(rabbitmq.url), connect(rabbitmq.url)])
    // Those of tests before are closed for their clients sooner than for the server.
    const open = (): Promise<unknown> => rabbitmq.evaluate('length(rabbit_networking:connections_local())')
    await waitUntil('no others', async () => (await open()) === 2)
    const reasons = Promise.all(clients.map((client) => once(client, 'close')))
    expect(await rabbitmq.closeConnections()).toBe(2)
    for (const [reason] of await reasons)
      expect(String(reason)).toMatch(/320 \(CONNECTION-FORCED\).*closed by the test/)
  })

  it('lists queues of every type, and deletes them under their consumers', async () => {
    const client = await connected(rabbitmq.url)
    const channel = await client.createChannel()
    const types = ['classic', 'quorum', 'stream'] as const
    for (const type of types)
      await channel.assertQueue(`"${type}"`, { durable: true, arguments: { 'x-queue-type': type } })
    const cancelled = new Promise((resolve) => {
      void channel.consume('"classic"', resolve)
    })
    await waitUntil('the consumer', async () =>
      (await rabbitmq.queues()).some(({ name, consumers }) => name === '"classic"' && consumers === 1),
    )
    const found = (await rabbitmq.queues()).toSorted((a, b) => a.name.localeCompare(b.name))
    expect(found).toMatchObject(types.map((type) => ({ name: `"${type}"`, type, messages: 0 })))
    for (const type of types) await rabbitmq.deleteQueue(`"${type}"`)
    expect(await cancelled).toBeNull()
    expect(await rabbitmq.queues()).toEqual([])
    await expect(rabbitmq.deleteQueue('"stream"')).rejects.toThrow('not_found')
    await client.close()
  })

  it('lets a user do what its permissions allow, in its virtual hosts', async () => {
    const client = await connected(rabbitmq.urlOf('app'))
    const channel = await client.createChannel()
    channel.on('error', () => {})
    await channel.assertQueue('app.q', { exclusive: true })
    await expect(channel.assertQueue('other')).rejects.toThrow('ACCESS-REFUSED')
    await client.close()
    const elsewhere = await connected(rabbitmq.urlOf('app', 'v h/2'))
    await (await elsewhere.createChannel()).assertQueue('other')
    await elsewhere.close()
    expect(await rabbitmq.queues('v h/2')).toMatchObject([{ name: 'other' }])
    const guest = await connected(rabbitmq.urlOf('guest', 'v h/2'))
    await guest.close()
    await expect(connect(rabbitmq.urlOf('app').replace('p%22a', 'x'))).rejects.toThrow('ACCESS-REFUSED')
    expect(() => rabbitmq.urlOf('nobody')).toThrow('without a user nobody')
  })

  it('takes lines of configuration, rabbitmqctl and Erlang expressions', async () => {
    expect(await rabbitmq.evaluate('element(2, application:get_env(rabbit, channel_max))')).toBe(17)
    expect(await rabbitmq.ctl('list_vhosts', '--no-table-headers')).toMatch(/^\/$/m)
    await expect(rabbitmq.ctl('no_such_command')).rejects.toThrow('ended with code 64')
    await expect(rabbitmq.evaluate('1 + a')).rejects.toThrow('badarith')
  })

  it('evaluates several expressions at once', async () => {
    const numbers = Array.from({ length: 8 }, (_, index) => index)
    const answers = Promise.all(
      numbers.map((each) => rabbitmq.evaluate(`begin timer:sleep(50), ${each} end`)),
    )
    expect(await answers).toEqual(numbers)
  })

  it('shows the reason and leaves nothing when the server does not come up', async () => {
    await expect(startRabbitmq({ config: ['no_such_setting = 1'] })).rejects.toThrow(
      /did not come up; its output:[^]*no_such_setting/,
    )
  })

  // The last: its server is gone afterwards.
  it('leaves no process and no folder after stop, also when paused and stopped twice', async () => {
    const { pid, folder } = rabbitmq
    await rabbitmq.pause()
    await rabbitmq.stop()
    await rabbitmq.stop()
    expect(processState(pid)).toBe('gone')
    expect(existsSync(folder)).toBe(false)
    await expect(rabbitmq.pause()).rejects.toThrow('is down; restart() it first')
  })
})

import { setTimeout as sleep } from 'node:timers/promises'
import { UnrecoverableJobError } from '@multinode/core'
import { type RabbitmqServer, serversAvailable, startRabbitmq, tcpProxy, waitUntil } from '@multinode/testbed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { tripOf } from '../src/delay-digits.ts'
import { rabbitmqQueue, RabbitmqQueue } from '../src/index.ts'
import { newJob } from './new-job.ts'
import { node } from './node.ts'
import { rawChannel } from './raw-channel.ts'
import { jobsIn, untilEmpty } from './settled-queue.ts'

/** No test here is about patience, and a busy server may take a second for each level of the delay line. */
const callTimeoutMs = 30_000

async function settled(adding: Promise<{ readonly status: string }>): Promise<string> {
  return adding.then(
    ({ status }) => status,
    (error: unknown) => String(error),
  )
}

describe.skipIf(!serversAvailable())('queues on RabbitMQ', { timeout: 60_000 }, () => {
  let server: RabbitmqServer
  beforeAll(async () => {
    server = await startRabbitmq({
      users: [
        {
          name: 'worker',
          password: 'secret',
          vhosts: { '/': { configure: '^$', write: '.*', read: '.*' } },
        },
        {
          name: 'app',
          password: 'secret',
          vhosts: {
            '/': {
              configure: '^allowed\\.(queue|dead|delay)\\..*',
              write: '^(allowed\\.(queue|dead|delay)\\..*|amq\\.default)$',
              read: '^allowed\\.(queue|dead|delay)\\..*',
            },
          },
        },
      ],
    })
  })
  afterAll(() => server.stop())

  it('show the connection underneath', async () => {
    await using one = await node(server.url, { clusterName: 'native', callTimeoutMs })
    expect(one.driver).toBeInstanceOf(RabbitmqQueue)
    expect(one.driver.native).toMatchObject({ state: { status: 'up' } })
    expect(one.driver.address).not.toContain('guest:guest')
  })

  it('refuse options that they do not know', () => {
    const text: unknown = 'none'
    const topology = text as 'passive'
    expect(() => rabbitmqQueue({ topology })).toThrow('declare or passive')
  })

  it('are used with the permissions that the README asks for', async () => {
    await using one = await node(server.urlOf('app'), { clusterName: 'allowed', callTimeoutMs })
    const queue = one.queues.open<string>('jobs', {
      priorities: true,
      attempts: 2,
      backoff: { type: 'fixed', delayMs: 100, jitter: 0 },
    })
    let runs = 0
    await queue.process(() => {
      runs += 1
      if (runs <= 2) throw new Error('again')
    })
    await queue.add('job', { priority: 'high', delayMs: 50 })
    await waitUntil('it to be dead', async () => (await queue.counts()).dead === 1)
    expect(await queue.deadLetters.redrive()).toBe(1)
    await waitUntil('it to run', () => runs === 3)
    expect([await queue.purge(), await queue.deadLetters.purge()]).toEqual([0, 0])
    expect(one.reported).toEqual([])
  })

  it('are only looked for by a user who may not make them, who is told what is missing', async () => {
    const clusterName = 'passive'
    await using worker = await node(server.urlOf('worker'), {
      clusterName,
      callTimeoutMs,
      topology: 'passive',
    })
    await expect(worker.queues.open('jobs').add(1)).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await using owner = await node(server.url, { clusterName, callTimeoutMs })
    // Later than all that follows takes, however busy the machine is.
    await owner.queues.open('jobs').add(1, { delayMs: 6_000 })
    const seen: unknown[] = []
    const queue = worker.queues.open<number>('jobs')
    await queue.process(({ payload }) => void seen.push(payload))
    await queue.add(2)
    await queue.add(3, { delayMs: 100 })
    await waitUntil('all to run', () => seen.length === 3)
    expect(seen).toEqual([2, 3, 1])
    await expect(queue.add(4, { delayMs: 1e9 })).rejects.toMatchObject({ code: 'NOT_FOUND' })
    // It asks for levels that are there, and were not used before.
    await queue.add(5, { delayMs: 500 })
    await waitUntil('the last one to run', () => seen.includes(5))
    await using declaring = await node(server.urlOf('worker'), { clusterName, callTimeoutMs })
    await expect(declaring.queues.open('others').add(1)).rejects.toMatchObject({ code: 'MISCONFIGURED' })
  })

  it('are MISCONFIGURED when they exist with other arguments, and that is not tried again and again', async () => {
    await using raw = await rawChannel(server.url)
    await raw.channel.assertQueue('other.queue.jobs', { durable: true })
    await using one = await node(server.url, { clusterName: 'other', callTimeoutMs })
    await expect(one.queues.open('jobs').add(1)).rejects.toMatchObject({
      code: 'MISCONFIGURED',
      outcome: 'not-sent',
    })
    const { length } = one.reported
    await sleep(1_500)
    expect(one.reported).toHaveLength(length)
    await expect(one.queues.open('fine').add(1)).resolves.toMatchObject({ status: 'added' })
  })

  it('that are MISCONFIGURED are looked at once a second, however often they are used', async () => {
    await using raw = await rawChannel(server.url)
    await raw.channel.assertQueue('often.queue.jobs', { durable: true })
    await using one = await node(server.url, { clusterName: 'often', callTimeoutMs })
    const queue = one.queues.open('jobs')
    const startedAtMs = performance.now()
    for (let n = 0; n < 50; n += 1)
      await expect(queue.add(n)).rejects.toMatchObject({ code: 'MISCONFIGURED' })
    expect(one.reported.length).toBeLessThanOrEqual(2 + (performance.now() - startedAtMs) / 1_000)
    await raw.channel.deleteQueue('often.queue.jobs')
    await waitUntil('it to be made', async () => (await settled(queue.add('again'))) === 'added')
  })

  it('tell once a second of jobs that cannot be tried again, while others end', async () => {
    const clusterName = 'unmade'
    await using owner = await node(server.url, { clusterName, callTimeoutMs })
    await owner.queues.open('jobs').counts()
    await using one = await node(server.url, { clusterName, callTimeoutMs, topology: 'passive' })
    const queue = one.queues.open<string>('jobs')
    const backoff = { type: 'fixed', delayMs: 1e9, jitter: 0 } as const
    for (let n = 0; n < 20; n += 1) await queue.add('again', { attempts: 2, backoff })
    await queue.process(
      () => {
        throw new Error('no')
      },
      { concurrency: 5, prefetch: 50 },
    )
    await waitUntil('it to be told', () => one.reported.length > 0)
    const startedAtMs = performance.now()
    let ended = 0
    queue.on('dead', () => void (ended += 1))
    while (performance.now() - startedAtMs < 8_000) {
      await queue.add('once', { attempts: 1 })
      await waitUntil('one more to end', () => ended > 0)
      ended = 0
    }
    expect(one.reported.length).toBeLessThanOrEqual(2 + (performance.now() - startedAtMs) / 1_000)
  })

  it('make a dead letter of what somebody else has put there, and show it as it is', async () => {
    await using one = await node(server.url, { clusterName: 'foreign', callTimeoutMs })
    const queue = one.queues.open<string>('jobs')
    const seen: unknown[] = []
    await queue.process(({ payload }) => void seen.push(payload))
    await using raw = await rawChannel(server.url)
    raw.channel.sendToQueue('foreign.queue.jobs', Buffer.from('{"hello":"world"}'))
    raw.channel.sendToQueue('foreign.queue.jobs', Buffer.from('{"v":2}\n{}'), { messageId: 'later version' })
    await raw.channel.waitForConfirms()
    await queue.add('ours')
    await waitUntil('ours to run', () => seen.length === 1)
    await waitUntil('the others to be dead', async () => (await queue.counts()).dead === 2)
    const letters = await queue.deadLetters.list()
    expect(new Set(letters.map(({ payload }) => payload))).toEqual(
      new Set([{ hello: 'world' }, '{"v":2}\n{}']),
    )
    for (const { failure } of letters) expect(failure.reason).toBe('invalid')
  })

  it('make a dead letter also of what is too large to be copied, which stops neither a worker nor a redrive of others', async () => {
    await using one = await node(server.url, { clusterName: 'large', callTimeoutMs })
    const queue = one.queues.open<string>('jobs')
    const seen: unknown[] = []
    await queue.process(({ payload }) => {
      seen.push(payload)
      if (payload === 'dead' && seen.length === 2) throw new UnrecoverableJobError('no')
    })
    await using raw = await rawChannel(server.url)
    raw.channel.sendToQueue('large.queue.jobs', Buffer.alloc(9 * 1_048_576, 'x'))
    await raw.channel.waitForConfirms()
    await waitUntil('it to be dead', async () => (await queue.counts()).dead === 1)
    expect(await queue.deadLetters.list()).toMatchObject([
      { failure: { message: 'RabbitMQ gave it up: rejected.' } },
    ])
    await queue.add('ours')
    await queue.add('dead')
    await waitUntil('ours to be dead, too', async () => (await queue.counts()).dead === 2)
    expect(await queue.deadLetters.redrive({ limit: 1 })).toBe(1)
    await waitUntil('it to run again', () => seen.length === 3)
    expect(seen).toEqual(['ours', 'dead', 'dead'])
    await waitUntil('the large one to be back', async () => (await queue.counts()).dead === 1)
  })

  it('go on to be used when they are opened once more while the server is away', async () => {
    await using proxy = await tcpProxy(server.port)
    const url = `amqp://guest:guest@127.0.0.1:${proxy.port}`
    await using one = await node(url, { clusterName: 'twice', callTimeoutMs })
    const definition = { name: 'jobs', hasPriorities: false }
    const line = await one.driver.open(definition, 5_000)
    proxy.refuse()
    proxy.reset()
    await waitUntil('a second one to fail', async () => {
      const opened = one.driver.open(definition, 100)
      return opened.then(
        () => false,
        () => true,
      )
    })
    proxy.refuse(false)
    await expect(line.add([newJob()], 10_000)).resolves.toMatchObject([{ status: 'added' }])
  })

  it('keep what the policy of an operator ends, as a dead letter that says so', async () => {
    await using one = await node(server.url, { clusterName: 'policy', callTimeoutMs })
    const queue = one.queues.open<string>('jobs')
    await queue.counts()
    // Not by rabbitmqctl, which a busy machine needs a minute to start.
    await server.evaluate(`ok = rabbit_policy:set(<<"/">>, <<"ttl">>, <<"^policy[.]queue[.]">>,
      [{<<"message-ttl">>, 1}], 0, <<"queues">>, <<"guest">>), true`)
    await waitUntil('one to be dead', async () => {
      await queue.add('job')
      return Number((await queue.counts()).dead) > 0
    })
    expect(await queue.deadLetters.list({ limit: 1 })).toMatchObject([
      { payload: 'job', failure: { reason: 'failed', message: 'RabbitMQ gave it up: expired.' } },
    ])
  })

  it('bring a job whose delay is longer than the delay line round again, and do not start it meanwhile', async () => {
    await using one = await node(server.url, { clusterName: 'long', callTimeoutMs })
    const queue = one.queues.open<string>('jobs')
    const seen: unknown[] = []
    await queue.process(
      ({ payload, attempt, redelivered }) => void seen.push([payload, attempt, redelivered]),
    )
    await queue.add('job', { delayMs: 100 * 2 ** 28 + 300 })
    const { level } = tripOf(100 * 2 ** 28)
    // As if its first trip were over: the server lets it go on at once.
    const name = `long.delay.${level}`
    expect(await jobsIn(server, name)).toBe(1)
    await using raw = await rawChannel(server.url)
    const message = await raw.channel.get(name)
    if (message === false) throw new Error('it is not there')
    const { content, properties } = message
    const startedAtMs = performance.now()
    raw.channel.sendToQueue('long.queue.jobs', content, {
      messageId: String(properties.messageId),
      persistent: true,
    })
    raw.channel.ack(message)
    await waitUntil('it to run', () => seen.length === 1)
    expect(performance.now() - startedAtMs).toBeGreaterThanOrEqual(300)
    expect(seen).toEqual([['job', 1, false]])
    await untilEmpty(server, 'long.queue.jobs')
  })

  it('make the delay line once for all that are added at once', async () => {
    await using one = await node(server.url, { clusterName: 'at-once', callTimeoutMs })
    const queue = one.queues.open<number>('jobs')
    await queue.add(0)
    const before = await queueDeclarations(server)
    const items = Array.from({ length: 200 }, (_, payload) => ({ payload, options: { delayMs: 700 } }))
    expect((await queue.addMany(items)).every(({ status }) => status === 'added')).toBe(true)
    // Three levels for seven ticks.
    expect((await queueDeclarations(server)) - before).toBe(3)
  })

  it('purge only what is delayed for them', async () => {
    await using one = await node(server.url, { clusterName: 'purge', callTimeoutMs })
    const [mine, other] = [one.queues.open<string>('mine'), one.queues.open<string>('other')]
    const seen: string[] = []
    for (const queue of [mine, other]) await queue.process(({ payload }) => void seen.push(payload))
    const [soonMs, lateMs] = [
      [1_500, 2_000, 2_600],
      [30_000, 40_000, 52_000],
    ]
    for (const delayMs of [...soonMs, ...lateMs]) await other.add(`other ${delayMs}`, { delayMs })
    // Not due before they are purged, however busy the machine is.
    for (const delayMs of lateMs) await mine.add(`mine ${delayMs}`, { delayMs })
    expect(await mine.purge()).toBe(3)
    await waitUntil('the others to run', () => seen.length === 3)
    expect(seen.toSorted()).toEqual(['other 1500', 'other 2000', 'other 2600'])
    expect(await other.purge(), 'those that wait beside them').toBe(3)
  })
})

/** How many a server has answered since it began, of all clients. */
async function queueDeclarations(server: RabbitmqServer): Promise<number> {
  return Number(await server.evaluate('element(6, hd(ets:lookup(connection_churn_metrics, node())))'))
}

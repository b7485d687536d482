import { isMultinodeError } from '@multinode/core'
import { figure, type RabbitmqCluster, serversAvailable, startRabbitmq, waitUntil } from '@multinode/testbed'
import { connect } from 'amqplib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { callMs, openWith } from './open-with.ts'
import { settled } from './settled.ts'

const patienceMs = 30_000

// Three servers take half a minute to start, for one test.
const isRun = figure({ slice: 0, full: 1 }) === 1

describe.skipIf(!serversAvailable() || !isRun)('on three servers', () => {
  let cluster: RabbitmqCluster
  beforeAll(async () => {
    cluster = await startRabbitmq({ nodes: 3 })
  }, 120_000)
  afterAll(() => cluster.stop())

  it('a queue whose server is down is unavailable, and consumed again when that is back; to a bare client it looks deleted', async () => {
    const [home, ...others] = cluster.nodes
    if (home === undefined) throw new Error('there is no server')
    const owner = await connect(home.url)
    owner.on('error', () => {})
    const channel = await owner.createConfirmChannel()
    await channel.assertQueue('at home', { durable: true })
    channel.sendToQueue('at home', Buffer.from('kept'), { persistent: true })
    await channel.waitForConfirms()

    await using opened = await openWith({ urls: others.map(({ url }) => url) })
    const seen: string[] = []
    const consumer = opened.connection.consume({ queue: 'at home', prefetch: 1 }, ({ message }) => {
      seen.push(message.content.toString())
    })
    await consumer.whenAttached(callMs)
    await waitUntil('the first delivery', () => seen.length === 1)
    await home.kill()
    await waitUntil('the loss to be told', () =>
      opened.reports.some((each) => each.includes('cancelled the consumer')),
    )
    // Until the first attempt has failed it is the loss that is told.
    const error = await waitUntil('an attempt to fail', async () => {
      const { error: each } = await settled(consumer.whenAttached(1_000))
      return isMultinodeError(each) && each.details?.['replyCode'] !== undefined ? each : undefined
    })
    expect(error).toMatchObject({
      code: 'UNAVAILABLE',
      retryable: true,
      outcome: 'not-sent',
      details: { replyCode: 404 },
    })
    expect(String(error)).toContain('home node')

    const bare = await connect(others[0]?.url ?? '')
    const bareChannel = await bare.createChannel()
    bareChannel.on('error', () => {})
    const { error: told } = await settled(bareChannel.checkQueue('at home'))
    expect(String(told), 'the control').toContain('404 (NOT-FOUND)')
    await bare.close()

    await home.restart()
    await waitUntil('it to be consumed again', () => seen.length === 2, { deadlineMs: patienceMs })
    expect(seen).toEqual(['kept', 'kept'])
    expect(opened.connection.state.status).toBe('up')
  }, 120_000)
})

import { type RabbitmqServer, serversAvailable, startRabbitmq, waitUntil } from '@multinode/testbed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { newJob } from './new-job.ts'
import { node } from './node.ts'
import { rawChannel } from './raw-channel.ts'
import { jobsIn } from './settled-queue.ts'

const neighbours = 1_000
const mebibyte = 1_048_576
/** No test here is about the patience of its nodes, and a busy server may take a second for each level of the delay line. */
const callTimeoutMs = 30_000
const definition = { name: 'jobs', hasPriorities: false }
/** How many jobs of one call are on their way at once. */
const window = 256

describe.skipIf(!serversAvailable())('a job that cannot be taken', { timeout: 60_000 }, () => {
  let server: RabbitmqServer
  beforeAll(async () => {
    server = await startRabbitmq()
  })
  afterAll(() => server.stop())

  const tooLarge = { code: 'TOO_LARGE', outcome: 'not-sent', retryable: false }
  const large = [
    ['by its payload', { payload: 'x'.repeat(17 * mebibyte) }],
    ['by its headers', { payload: 1, options: { headers: { trace: 'x'.repeat(mebibyte) } } }],
  ] as const

  it.for(large)(
    'because it is too large %s, is refused alone, among 1,000 that are on their way',
    async ([how, item]) => {
      const clusterName = how.replaceAll(' ', '-')
      await using one = await node(server.url, { clusterName, callTimeoutMs })
      const queue = one.queues.open<unknown>('jobs')
      const before = Array.from({ length: neighbours / 2 }, (_, each) => queue.add(each))
      const refused = queue.add(item.payload, 'options' in item ? item.options : {})
      const after = Array.from({ length: neighbours / 2 }, (_, each) => queue.add(each))
      await expect(refused).rejects.toMatchObject(tooLarge)
      const added = await Promise.all([...before, ...after])
      expect(added.filter(({ status }) => status === 'added')).toHaveLength(neighbours)
      expect(await queue.counts()).toMatchObject({ waiting: neighbours })
      const items = Array.from({ length: neighbours }, (_, payload) => ({ payload }))
      const results = await queue.addMany([...items.slice(0, 500), item, ...items.slice(500)])
      expect(results[500]).toMatchObject({ status: 'failed', error: tooLarge })
      expect(results.filter(({ status }) => status === 'added')).toHaveLength(neighbours)
    },
  )

  it('has headers of 65 KiB, which it may, and brings them, also as a dead letter', async () => {
    await using one = await node(server.url, { clusterName: 'headers', callTimeoutMs })
    const queue = one.queues.open('jobs')
    const headers = { trace: 'ä\u0000'.repeat(65 * 256) }
    const seen: unknown[] = []
    await queue.process((job) => {
      seen.push(job.headers)
      throw new Error('no')
    })
    await queue.add(1, { headers })
    await waitUntil('it to be dead', async () => (await queue.counts()).dead === 1)
    const [letter] = await queue.deadLetters.list()
    expect([seen[0], letter?.headers]).toEqual([headers, headers])
  })

  it('the control: headers of 65 KiB are more than amqplib can send', async () => {
    await using raw = await rawChannel(server.url)
    const headers = { trace: 'x'.repeat(66_560) }
    expect(() => raw.channel.sendToQueue('any', Buffer.from('job'), { headers })).toThrow()
  })

  it('because its queue is full, is refused, and none that is there is dropped', async ({ annotate }) => {
    const clusterName = 'full'
    await using one = await node(server.url, { clusterName, callTimeoutMs })
    const queue = one.queues.open<number>('jobs')
    await queue.add(0)
    // Not by rabbitmqctl, which a busy machine needs a minute to start.
    await server.evaluate(`ok = rabbit_policy:set(<<"/">>, <<"full">>, <<"^full[.]queue[.]">>,
      [{<<"max-length">>, 100}], 0, <<"queues">>, <<"guest">>), true`)
    const policy = `{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"full.queue.jobs">>)),
      rabbit_policy:name(Q) =:= <<"full">>`
    await waitUntil('the policy to be there', async () => (await server.evaluate(policy)) === true)
    const items = Array.from({ length: neighbours }, (_, payload) => ({ payload }))
    const results = await queue.addMany(items)
    const refused = results.filter(({ status }) => status === 'failed')
    const added = 1 + results.length - refused.length
    await annotate(`${added} were added until it was full`)
    expect(refused.length).toBeGreaterThan(0)
    const codes = new Set<unknown>(refused.map((each) => each.status === 'failed' && each.error.code))
    // Each is tried again for a while, because a queue that changes its leader refuses, too.
    expect([...codes]).toEqual(['REJECTED'])
    expect(added).toBeGreaterThanOrEqual(100)
    await waitUntil('all to be there', async () => (await jobsIn(server, 'full.queue.jobs')) === added)
    const seen = new Set<unknown>()
    await queue.process(({ payload }) => void seen.add(payload), { concurrency: 20 })
    await waitUntil('all to run', () => one.queues.stats().completed === added)
    expect(one.queues.stats()).toMatchObject({ failed: 0, dead: 0 })
  })

  it('because the time of its call is over, was not sent, and none that is sent later costs the others anything', async ({
    annotate,
  }) => {
    await using one = await node(server.url, { clusterName: 'late' })
    const line = await one.driver.open(definition, 10_000)
    const timeoutMs = 200
    const jobs = Array.from({ length: 50_000 }, () => newJob())
    const replies = await line.add(jobs, timeoutMs)
    const counts = { added: 0, unknown: 0, 'not-sent': 0 }
    for (const reply of replies) {
      if (reply.status !== 'failed') counts.added += 1
      else counts[reply.error.outcome ?? 'unknown'] += 1
    }
    await annotate(JSON.stringify(counts))
    expect(replies).toHaveLength(jobs.length)
    expect(counts['not-sent'], 'the control: there was no time for all').toBeGreaterThan(window)
    expect(counts.unknown).toBeLessThanOrEqual(window)
    const there = await jobsIn(server, 'late.queue.jobs')
    expect(there).toBeGreaterThanOrEqual(counts.added)
    const none = await line.add(jobs.slice(0, window), 1)
    const late = { status: 'failed', error: { code: 'TIMEOUT', outcome: 'not-sent' } }
    for (const reply of none) expect(reply).toMatchObject(late)
    await expect(line.add([newJob()], 5_000)).resolves.toMatchObject([{ status: 'added' }])
    expect(await jobsIn(server, 'late.queue.jobs')).toBeLessThanOrEqual(counts.added + counts.unknown + 1)
  })

  it('because somebody has deleted its queue, and there is no time to make it again, was not sent', async () => {
    await using one = await node(server.url, { clusterName: 'deleted-late' })
    const line = await one.driver.open(definition, 10_000)
    await expect(line.add([newJob()], 5_000)).resolves.toMatchObject([{ status: 'added' }])
    await server.deleteQueue('deleted-late.queue.jobs')
    const gone = { status: 'failed', error: { code: 'NOT_FOUND', outcome: 'not-sent' } }
    const reply = await waitUntil('an answer in time, of a server that may be busy', async () => {
      const [each] = await line.add([newJob()], 450)
      return each?.status === 'failed' && each.error.code === 'TIMEOUT' ? undefined : each
    })
    expect(reply).toMatchObject(gone)
    await expect(line.add([newJob()], 5_000)).resolves.toMatchObject([{ status: 'added' }])
  })

  it('because somebody has deleted its queue, is taken all the same: the queue is made again, also for a delay, and its worker goes on', async () => {
    const clusterName = 'deleted'
    await using adding = await node(server.url, { clusterName, callTimeoutMs })
    await using working = await node(server.url, { clusterName, callTimeoutMs })
    const queue = adding.queues.open<number>('jobs')
    const seen: unknown[] = []
    await queue.add(1)
    await server.deleteQueue('deleted.queue.jobs')
    await queue.add(2)
    await queue.add(3, { delayMs: 100 })
    await working.queues.open<number>('jobs').process(({ payload }) => void seen.push(payload))
    await waitUntil('both to run', () => seen.length === 2)
    await server.deleteQueue('deleted.queue.jobs')
    await waitUntil('it to run', async () => {
      await queue.add(4)
      return seen.includes(4)
    })
    expect(new Set(seen)).toEqual(new Set([2, 3, 4]))
  })

  it('the control: what is published for a queue that is not there is confirmed, and gone', async () => {
    await using raw = await rawChannel(server.url)
    raw.channel.sendToQueue('nowhere', Buffer.from('job'))
    await raw.channel.waitForConfirms()
    await expect(raw.channel.checkQueue('nowhere')).rejects.toThrow('NOT_FOUND')
  })
})

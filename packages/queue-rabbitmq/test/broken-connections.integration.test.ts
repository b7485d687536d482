import { setTimeout as sleep } from 'node:timers/promises'
import { pluginContext } from '@multinode/core/testing'
import {
  CountingClock,
  figure,
  publishAt,
  type RabbitmqServer,
  type SeededRandom,
  seededRandom,
  serversAvailable,
  startRabbitmq,
  type TcpProxy,
  tcpProxy,
  waitUntil,
} from '@multinode/testbed'
import { connect as connectManaged } from 'amqp-connection-manager'
import { type Channel, connect, type ConsumeMessage } from 'amqplib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { heapUsed } from './heap.ts'
import { JobsRun } from './jobs-run.ts'
import { node } from './node.ts'
import { rawChannel } from './raw-channel.ts'
import { jobsIn, untilEmpty } from './settled-queue.ts'

const callTimeoutMs = 5_000

/** Until the time is over: a fault, then peace for 0.5 to 3 s. @returns how many of them there were */
async function breakLinks(proxy: TcpProxy, random: SeededRandom, endsAtMs: number): Promise<number> {
  const faults: readonly (() => Promise<void>)[] = [
    async () => {
      proxy.blackhole()
      await sleep(random.between(200, 1_500))
      proxy.blackhole(false)
    },
    async () => proxy.reset(),
    async () => {
      proxy.delay(200)
      await sleep(random.between(500, 1_500))
      proxy.delay(0)
    },
    async () => proxy.fin(),
  ]
  let count = 0
  for (; performance.now() < endsAtMs; count += 1) {
    await faults[count % faults.length]?.()
    await sleep(random.between(500, 3_000))
  }
  return count
}

/** The control: publishes without confirms and consumes without acks, and connects again when its link breaks. */
class BareQueue implements AsyncDisposable {
  readonly #seen = new Set<string>()
  readonly #url: string
  #sent = 0
  #isOver = false
  #channel: Channel | undefined
  #end: () => void = () => {}

  constructor(url: string) {
    this.#url = url
    void this.#live()
  }

  async send(): Promise<void> {
    try {
      if (this.#channel === undefined) return
      this.#channel.sendToQueue('bare', Buffer.from(`${this.#sent}`), { persistent: true })
      this.#sent += 1
    } catch {
      // The channel is closed: that one was not sent.
    }
  }

  get isConnected(): boolean {
    return this.#channel !== undefined
  }

  get lost(): number {
    return this.#sent - this.#seen.size
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true
    this.#end()
  }

  async #live(): Promise<void> {
    while (!this.#isOver) {
      try {
        const model = await connect(this.#url, { timeout: 1_000 })
        const closed = new Promise<void>((resolve) => {
          model.once('close', resolve)
          this.#end = resolve
        })
        model.on('error', () => {})
        const channel = await model.createChannel()
        channel.on('error', () => {})
        await channel.assertQueue('bare', { durable: true })
        await channel.consume('bare', (message) => void this.#seen.add(String(message?.content)), {
          noAck: true,
        })
        this.#channel = channel
        await closed
        await model.close().catch(() => {})
      } catch {
        await sleep(100)
      }
    }
  }
}

describe.skipIf(!serversAvailable())('jobs over connections that break', () => {
  let server: RabbitmqServer
  let proxy: TcpProxy
  let url: string
  beforeAll(async () => {
    server = await startRabbitmq()
    proxy = await tcpProxy(server.port)
    url = `amqp://guest:guest@127.0.0.1:${proxy.port}`
  })
  afterAll(async () => {
    await proxy.close()
    await server.stop()
  })

  const chaosMs = figure({ slice: 12_000, full: 600_000 })
  const total = figure({ slice: 1_000, full: 50_000 })

  it(
    `are none of them lost: ${total} in ${chaosMs / 1_000} s of resets, orderly ends, silence and delays`,
    { timeout: chaosMs + 120_000 },
    async ({ annotate }) => {
      await using adding = await node(url, { clusterName: 'chaos', callTimeoutMs })
      await using working = await node(url, { clusterName: 'chaos', callTimeoutMs })
      await using bare = new BareQueue(url)
      const random = seededRandom()
      const jobs = new JobsRun()
      const queue = adding.queues.open<number>('jobs')
      await working.queues.open<number>('jobs').process(
        async ({ payload }) => {
          await sleep(5)
          jobs.ran(payload)
        },
        { concurrency: 20, maxCrashes: 1_000 },
      )
      await jobs.add(queue)
      // The first silence, which may be the only one, is to meet what it sends.
      await waitUntil('the bare one to be connected', () => bare.isConnected)
      const [faults] = await Promise.all([
        breakLinks(proxy, random, performance.now() + chaosMs),
        publishAt((total / chaosMs) * 1_000, total, [async () => void (await jobs.add(queue))]),
        publishAt(100, chaosMs / 10, [() => bare.send()]),
      ])
      proxy.heal()
      await jobs.allRan()
      await untilEmpty(server, 'chaos.queue.jobs')
      await annotate(`seed ${random.seed}: ${faults} faults, ${String(jobs)}, the bare one lost ${bare.lost}`)
      const { lost, lies } = jobs
      expect({ lost, lies }).toEqual({ lost: 0, lies: 0 })
      expect(await queue.deadLetters.list()).toEqual([])
      expect(jobs.count('added')).toBeGreaterThan(total / 2)
      expect(bare.lost, 'the control: without confirms and acks').toBeGreaterThan(0)
    },
  )

  const rounds = figure({ slice: 30, full: 1_000 })

  it(
    `are none of them lost when the connection ends that has them, while another worker waits: ${rounds} times`,
    { timeout: rounds * 2_000 + 60_000 },
    async ({ annotate }) => {
      await using adding = await node(server.url, { clusterName: 'rounds' })
      await using broken = await node(url, { clusterName: 'rounds' })
      await using whole = await node(server.url, { clusterName: 'rounds' })
      const jobs = new JobsRun()
      let begunThere = 0
      const handler = async ({ payload }: { readonly payload: number }): Promise<void> => {
        await sleep(20)
        jobs.ran(payload)
      }
      await broken.queues.open<number>('jobs').process(
        (job) => {
          begunThere += 1
          return handler(job)
        },
        { concurrency: 2 },
      )
      await whole.queues.open<number>('jobs').process(handler, { concurrency: 2 })
      const queue = adding.queues.open<number>('jobs')
      let cut = 0
      for (let round = 0; round < rounds; round += 1) {
        const before = begunThere
        await waitUntil('one to be begun there', async () => {
          await Promise.all([jobs.add(queue), jobs.add(queue), jobs.add(queue)])
          return begunThere > before
        })
        proxy.reset()
        cut += 1
      }
      await jobs.allRan()
      await untilEmpty(server, 'rounds.queue.jobs')
      const { lockLost } = broken.queues.stats()
      await annotate(`${String(jobs)}, ${lockLost} handlers were told`)
      expect(jobs).toMatchObject({ lost: 0, lies: 0 })
      expect(lockLost, 'the control: some ran when their connection ended').toBeGreaterThan(cut / 4)
      expect(await queue.deadLetters.list()).toEqual([])
    },
  )

  it('the control: amqp-connection-manager acknowledges on the next channel what the last one delivered, and loses another job in the first round', async () => {
    await using whole = await rawChannel(server.url)
    await whole.channel.assertQueue('stale', { durable: true, arguments: { 'x-queue-type': 'quorum' } })
    const managed = connectManaged([url], { reconnectTimeInSeconds: 1 })
    await using cleanUp = new AsyncDisposableStack()
    cleanUp.defer(() => managed.close())
    const worker = managed.createChannel()
    const delivered: ConsumeMessage[] = []
    await worker.consume('stale', (message) => void delivered.push(message))
    whole.channel.sendToQueue('stale', Buffer.from('one'))
    await waitUntil('the first one', () => delivered.length === 1)
    await whole.channel.prefetch(1)
    await whole.channel.consume('stale', (message) => void (message && delivered.push(message)))
    proxy.reset()
    await waitUntil('it to be taken by another worker', () => delivered.length === 2)
    whole.channel.sendToQueue('stale', Buffer.from('two'))
    await waitUntil('another one, by the library that is back', () => delivered.length === 3)
    const [done] = delivered
    if (done === undefined) throw new Error('nothing was delivered')
    // On the channel of the moment its tag is that of a job which nobody has done.
    worker.ack(done)
    await waitUntil('it to be gone', async () => (await jobsIn(server, 'stale')) === 1)
    expect(delivered.map(({ content }) => String(content))).toEqual(['one', 'one', 'two'])
  })

  const setUps = figure({ slice: 25, full: 200 })

  it(
    `that break while queues are made: each is made in the end, ${setUps} times`,
    { timeout: setUps * 3_000 + 60_000 },
    async ({ annotate }) => {
      const random = seededRandom()
      await using one = await node(url, { clusterName: 'set-ups', callTimeoutMs: 20_000 })
      const seen: unknown[] = []
      for (let round = 0; round < setUps; round += 1) {
        const queue = one.queues.open<number>(`q${round}`)
        const working = queue.process(({ payload }) => void seen.push(payload))
        const adding = queue.add(round, { delayMs: round % 2 })
        await sleep(random.between(0, 30))
        proxy.reset()
        await Promise.all([working, adding])
        await waitUntil('it to run', () => seen.includes(round))
      }
      await annotate(`seed ${random.seed}`)
      expect(new Set(seen).size).toBe(setUps)
    },
  )

  it('the control: what amqplib is asked for then fails, and its channel never comes back', async () => {
    await using raw = await rawChannel(url)
    const making = raw.channel.assertQueue('half', { durable: true, arguments: { 'x-queue-type': 'quorum' } })
    proxy.reset()
    await expect(making).rejects.toThrow()
    expect(() => raw.channel.sendToQueue('half', Buffer.from('job'))).toThrow(/closed/)
  })

  const resets = figure({ slice: 20, full: 300 })

  it(
    `leave nothing behind: no connection, no handle, no timer and no memory after ${resets} resets`,
    { timeout: resets * 3_000 + 60_000 },
    async ({ annotate }) => {
      const clock = new CountingClock(pluginContext().clock)
      const one = await node(url, { clusterName: 'resets', callTimeoutMs: 20_000, clock })
      const queue = one.queues.open<number>('jobs')
      let runs = 0
      await queue.process(() => void (runs += 1), { concurrency: 10, maxCrashes: 1_000 })
      const links = proxy.connections()
      const round = async (): Promise<void> => {
        proxy.reset()
        const before = runs
        await Promise.all(Array.from({ length: 100 }, (_, each) => queue.add(each)))
        await waitUntil('all to run', () => runs >= before + 100, { everyMs: 5 })
        await waitUntil('all connections', () => proxy.connections() === links, { everyMs: 5 })
      }
      const held = async (): Promise<{ timers: number; sockets: number; bytes: number }> => {
        await waitUntil('no deadline to be left', () => clock.pending <= 3, { deadlineMs: 30_000 })
        const sockets = process.getActiveResourcesInfo().filter((each) => /TCP|TLS/.test(each)).length
        return { timers: clock.pending, sockets, bytes: await heapUsed() }
      }
      // What a process needs once is there then.
      for (let each = 0; each < 10; each += 1) await round()
      const before = await held()
      for (let each = 0; each < resets; each += 1) await round()
      const after = await held()
      const grownKiB = Math.round((after.bytes - before.bytes) / 1_024)
      await annotate(`${grownKiB} KiB after ${resets} rounds of 100 jobs, ${after.timers} timers`)
      expect(after.timers).toBeLessThanOrEqual(before.timers + 1)
      expect(after.sockets).toBe(before.sockets)
      // Less than half of what the jobs alone would take if they were kept, at 500 bytes each.
      expect(after.bytes - before.bytes).toBeLessThan(resets * 100 * 250)
      await one.close()
      await waitUntil('no connection', () => proxy.connections() === 0)
      await waitUntil('no timer', () => clock.pending === 0)
    },
  )
})

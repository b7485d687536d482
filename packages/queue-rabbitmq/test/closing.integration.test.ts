import { setTimeout as sleep } from 'node:timers/promises'
import type { Timer } from '@multinode/core'
import { pluginContext } from '@multinode/core/testing'
import {
  CountingClock,
  figure,
  type RabbitmqServer,
  serversAvailable,
  spawnNode,
  startRabbitmq,
  type TcpProxy,
  tcpProxy,
  waitUntil,
  withLateness,
} from '@multinode/testbed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { newJob } from './new-job.ts'
import { node } from './node.ts'
import { rawChannel } from './raw-channel.ts'

const closer = new URL('fixtures/closer.ts', import.meta.url)
const graceMs = 200
/** Beyond the grace, and what a machine needs on which others work, too. */
const mostMs = 1_000 + 250

/** Before a job is sent again that was refused twice. */
const longPauseMs = 750

/** Knows which timers were set. */
class PauseClock extends CountingClock {
  readonly lengthsMs = new Set<number>()

  override setTimer(callback: () => void, delayMs: number, kind: 'background' | 'foreground'): Timer {
    this.lengthsMs.add(delayMs)
    return super.setTimer(callback, delayMs, kind)
  }
}

interface State {
  readonly name: string
  /** Whether its workers begin before the fault or after it. */
  readonly begin: 'before' | 'after'
  readonly fault: (server: RabbitmqServer, proxy: TcpProxy) => unknown
  readonly heal: (server: RabbitmqServer) => unknown
}

const frozen: Pick<State, 'fault' | 'heal'> = {
  fault: (server) => server.pause(),
  heal: (server) => server.resume(),
}

const states: readonly State[] = [
  { name: 'is there', begin: 'before', fault: () => {}, heal: () => {} },
  {
    name: 'is away, so that connections are refused',
    begin: 'before',
    fault: (_, proxy) => {
      proxy.refuse()
      proxy.reset()
    },
    heal: () => {},
  },
  { name: 'is frozen', begin: 'before', ...frozen },
  {
    name: 'takes no messages, because it is short of memory',
    begin: 'before',
    fault: (server) => server.memoryAlarm(true),
    heal: (server) => server.memoryAlarm(false),
  },
  {
    name: 'is behind links that are half-open',
    begin: 'before',
    fault: (_, proxy) => proxy.blackhole(),
    heal: () => {},
  },
  { name: 'was frozen when the queues were first used', begin: 'after', ...frozen },
]

describe.skipIf(!serversAvailable())('a process whose RabbitMQ', { timeout: 1_200_000 }, () => {
  let server: RabbitmqServer
  beforeAll(async () => {
    server = await startRabbitmq()
  })
  afterAll(() => server.stop())
  const rounds = figure({ slice: 2, full: 100 })

  it.for(states)(
    `$name closes within its grace and a second, a worker that waits, one that is busy, and all, and then ends by itself: ${rounds} times`,
    async ({ begin, fault, heal }, { annotate }) => {
      const longest = { worker: 0, cluster: 0, ended: 0 }
      for (let round = 0; round < rounds; round += 1) {
        await using proxy = await tcpProxy(server.port)
        const how = round % 2 === 0 ? 'worker' : 'cluster'
        const env = {
          RABBITMQ_URL: `amqp://guest:guest@127.0.0.1:${proxy.port}`,
          CLUSTER: `closing-${crypto.randomUUID().slice(0, 8)}`,
          BEGIN: begin,
          HOW: how,
          GRACE_MS: String(graceMs),
        }
        await using child = await spawnNode(closer, { env })
        await child.nextLine('ready', 20_000)
        if (begin === 'before') await child.nextLine('took')
        await fault(server, proxy)
        try {
          child.send('close')
          const [, workersMs, clusterMs] = (await child.nextLine('closed')).split(' ').map(Number)
          const [, late, adding] = (await child.nextLine('outcomes')).split(' ')
          expect(late).toMatch(begin === 'before' ? 'undefined' : /^(ABORTED|CLOSED|UNAVAILABLE|TIMEOUT)$/)
          expect(adding).toMatch(/^(done|CLOSED|UNAVAILABLE|TIMEOUT)$/)
          const [, endedMs] = (await child.nextLine('ended')).split(' ').map(Number)
          expect(await child.exited).toEqual({ code: 0, signal: null })
          longest.worker = Math.max(longest.worker, Number(workersMs))
          longest.cluster = Math.max(longest.cluster, Number(clusterMs))
          longest.ended = Math.max(longest.ended, Number(endedMs))
        } finally {
          await heal(server)
        }
      }
      await annotate(JSON.stringify(longest))
      expect(longest.worker).toBeLessThan(graceMs + mostMs)
      expect(longest.cluster).toBeLessThan(mostMs)
      expect(longest.ended).toBeLessThan(500)
    },
  )

  it('has a full queue closes at once, and tells of a job that was refused and waited to be sent again that it may have arrived', async ({
    annotate,
  }) => {
    const clock = new PauseClock(pluginContext().clock)
    const one = await node(server.url, { clusterName: 'full', clock })
    const line = await one.driver.open({ name: 'jobs', hasPriorities: false }, 10_000)
    // Not by rabbitmqctl, which a busy machine needs a minute to start.
    await server.evaluate(`ok = rabbit_policy:set(<<"/">>, <<"full">>, <<"^full[.]queue[.]">>,
      [{<<"max-length">>, 1}], 0, <<"queues">>, <<"guest">>), true`)
    await using raw = await rawChannel(server.url)
    await waitUntil('it to be full', async () => {
      raw.channel.sendToQueue('full.queue.jobs', Buffer.from('job'))
      return raw.channel.waitForConfirms().then(
        () => false,
        () => true,
      )
    })
    const adding = line.add([newJob()], 20_000)
    await waitUntil('it to be refused twice', () => clock.lengthsMs.has(longPauseMs), { everyMs: 5 })
    const ask = async (): Promise<unknown> => raw.channel.prefetch(1)
    const { result, sumMs } = await withLateness(ask, async () => {
      const startedAtMs = performance.now()
      await one.close()
      const [reply] = await adding
      return { reply, closedMs: performance.now() - startedAtMs }
    })
    const { reply, closedMs } = result
    await annotate(`${Math.round(closedMs)} ms, the machine late by ${Math.round(sumMs)} ms`)
    expect(reply).toMatchObject({ status: 'failed', error: { code: 'CLOSED', outcome: 'unknown' } })
    expect(closedMs).toBeLessThan(longPauseMs - 150 + sumMs)
  })

  it('is frozen, the control: a connection of amqplib does not close', async () => {
    await using raw = await rawChannel(server.url)
    await server.pause()
    const isClosed = await Promise.race([raw.model.close().then(() => true), sleep(3_000, false)])
    server.resume()
    expect(isClosed).toBe(false)
  })
})

import { setTimeout as sleep } from 'node:timers/promises'
import {
  figure,
  type RedisServer,
  serversAvailable,
  spawnNode,
  startRedis,
  type TcpProxy,
  tcpProxy,
} from '@multinode/testbed'
import { describe, expect, it } from 'vitest'

const closer = new URL('fixtures/closer.ts', import.meta.url)
const bareCloser = new URL('fixtures/bare-closer.ts', import.meta.url)
const graceMs = 200
/** Beyond the grace, and what a machine needs on which others work, too. */
const mostMs = 1_000 + 250

interface State {
  readonly name: string
  /** Whether its workers begin before the fault or after it. */
  readonly begin: 'before' | 'after'
  readonly fault: (server: RedisServer, proxy: TcpProxy) => Promise<unknown>
}

const states: readonly State[] = [
  { name: 'is there', begin: 'before', fault: async () => {} },
  { name: 'is down', begin: 'before', fault: (server) => server.kill() },
  { name: 'is frozen', begin: 'before', fault: (server) => server.pause() },
  {
    name: 'is behind links that are half-open',
    begin: 'before',
    fault: async (_, proxy) => proxy.blackhole(),
  },
  { name: 'was down when the queues were first used', begin: 'after', fault: (server) => server.kill() },
  { name: 'was frozen when the queues were first used', begin: 'after', fault: (server) => server.pause() },
]

describe.skipIf(!serversAvailable()).concurrent('a process whose Redis', { timeout: 1_200_000 }, () => {
  const rounds = figure({ slice: 3, full: 100 })

  it.for(states)(
    `$name closes within its grace and a second, a worker that waits, one that is busy, and all, and then ends by itself: ${rounds} times`,
    async ({ begin, fault }, { annotate }) => {
      const longest = { worker: 0, cluster: 0, ended: 0 }
      for (let round = 0; round < rounds; round += 1) {
        await using server = await startRedis()
        await using proxy = await tcpProxy(server.port)
        const how = round % 2 === 0 ? 'worker' : 'cluster'
        const env = {
          REDIS_URL: `redis://127.0.0.1:${proxy.port}`,
          BEGIN: begin,
          HOW: how,
          GRACE_MS: String(graceMs),
        }
        await using child = await spawnNode(closer, { env })
        await child.nextLine('ready')
        if (begin === 'before') await child.nextLine('took')
        await fault(server, proxy)
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
      }
      await annotate(JSON.stringify(longest))
      expect(longest.worker).toBeLessThan(graceMs + mostMs)
      expect(longest.cluster).toBeLessThan(mostMs)
      expect(longest.ended).toBeLessThan(500)
    },
  )

  it('is there, the control: with BullMQ a busy worker never closes, and its process never ends', async () => {
    await using server = await startRedis()
    await using child = await spawnNode(bareCloser, { env: { REDIS_URL: server.url } })
    await child.nextLine('took')
    child.send('close')
    expect(await Promise.race([child.exited, sleep(3_000, 'still there')])).toBe('still there')
    expect(child.output()).not.toContain('closed')
  })
})

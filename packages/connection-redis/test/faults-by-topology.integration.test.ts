import { serversAvailable, waitUntil } from '@multinode/testbed'
import { afterAll, describe, expect, it } from 'vitest'
import { askerOf, bareAskerOf, bareCounting, doublesOf, Load, wrongsOf } from './load.ts'
import { callMs, openWith } from './open-with.ts'
import { type Proxied, proxiedCluster, proxiedSentinel, proxiedSingle } from './proxied.ts'

/** What no lateness of a busy machine explains. */
const hangsMs = callMs * 1.4

interface Loads {
  readonly ours: Load
  readonly bare: Load
}

interface Fault {
  readonly name: string
  readonly only?: 'single' | 'sentinel' | 'cluster'
  /** Returns when the fault is over; the proxies are healed then. */
  readonly happen: (place: Proxied, loads: Loads) => Promise<void>
  /** Whether the servers lose what they have counted. */
  readonly forgets?: boolean
  /** Whether ours go on as if nothing had been. */
  readonly unnoticed?: boolean
}

/** As long as the fault lasts, until ours have failed and what ioredis does by itself is worse than that. */
async function untilFelt({ ours, bare }: Loads): Promise<void> {
  const before = ours.failed().length
  await waitUntil('ours to fail', () => ours.failed().length > before)
  await waitUntil('the bare client to hang or to fail', () => bare.slowerThan(hangsMs)[0] ?? bare.failed()[0])
}

/** Answers are under way to both, of what the servers have done. */
async function untilAnswersAreUnderWay(loads: Loads): Promise<void> {
  for (const load of [loads.ours, loads.bare]) {
    const before = load.questions.length
    await waitUntil('an answer to what was asked since', () => load.questions[before]?.ended)
  }
}

const faults: readonly Fault[] = [
  {
    name: 'a server is killed and comes back',
    async happen({ masters: [server] }, loads) {
      await server?.kill()
      await untilFelt(loads)
      await server?.restart()
    },
  },
  {
    name: 'a server is frozen',
    async happen({ masters: [server] }, loads) {
      await server?.pause()
      await untilFelt(loads)
      server?.resume()
    },
  },
  {
    name: 'the servers lose all data and scripts',
    forgets: true,
    unnoticed: true,
    async happen({ masters }) {
      for (const server of masters) {
        await server.flush()
        await server.cli('SCRIPT', 'FLUSH')
      }
    },
  },
  {
    name: 'all connections are reset with answers under way',
    async happen({ proxies }, loads) {
      for (const proxy of proxies) proxy.delay(30)
      await untilAnswersAreUnderWay(loads)
      for (const proxy of proxies) proxy.reset()
    },
  },
  {
    name: 'all connections are closed with answers under way',
    async happen({ proxies }, loads) {
      for (const proxy of proxies) proxy.delay(30)
      await untilAnswersAreUnderWay(loads)
      for (const proxy of proxies) proxy.fin()
    },
  },
  {
    name: 'the link to a server is half-open',
    async happen({ proxies: [proxy] }, loads) {
      proxy?.blackhole()
      await untilFelt(loads)
    },
  },
  {
    name: 'the links to all nodes are half-open',
    only: 'cluster',
    async happen({ proxies }, loads) {
      for (const proxy of proxies) proxy.blackhole()
      await untilFelt(loads)
    },
  },
  {
    name: 'the links are slower than the deadline',
    async happen({ proxies }, loads) {
      for (const proxy of proxies) proxy.delay(callMs)
      await untilFelt(loads)
    },
  },
  {
    name: 'all connections are reset and new ones, too',
    async happen({ proxies }, loads) {
      for (const proxy of proxies) proxy.refuse()
      for (const proxy of proxies) proxy.reset()
      await untilFelt(loads)
    },
  },
  {
    name: 'a reply is dropped',
    async happen({ proxies: [proxy] }, { ours, bare }) {
      for (const { name } of [ours, bare]) {
        let isDropped = false
        proxy?.dropReply((chunk) => (isDropped ||= chunk.includes(`${name}-script`)))
        await waitUntil('a reply to be dropped', () => isDropped)
      }
    },
  },
  {
    name: 'all Sentinels are gone, and the connection is cut',
    only: 'sentinel',
    async happen({ sentinel, proxies }, loads) {
      await sentinel?.killSentinels()
      for (const proxy of proxies) proxy.reset()
      await untilFelt(loads)
      await sentinel?.restartSentinels()
    },
  },
]

describe.skipIf(!serversAvailable())('every call ends in time and counts at most once', async () => {
  const places = await Promise.all([proxiedSingle(), proxiedSentinel(), proxiedCluster()])
  const [single, sentinel, cluster] = places
  afterAll(() => Promise.all(places.map((place) => place[Symbol.asyncDispose]())))
  const topologies = [
    ['on a single server', 'single', single],
    ['behind Sentinels', 'sentinel', sentinel],
    ['on a Cluster', 'cluster', cluster],
  ] as const

  // At the same time, because most of it is waiting.
  describe.concurrent.each(topologies)('%s', (_, topology, place) => {
    const these = faults.filter(({ only = topology }) => only === topology)
    describe('when', { concurrent: false }, () => {
      it.each(these.map((fault) => [fault.name, fault] as const))('%s', async (_name, fault) => {
        const { forgets = false, unnoticed = false } = fault
        // Where none is to fail, none is to be late because the machine is.
        const [timeoutMs, deadlineMs] = unnoticed ? [10 * callMs, 3 * callMs] : [callMs, callMs]
        await using loads = await startLoads(place, timeoutMs)
        const { ours, bare } = loads
        await fault.happen(place, loads)
        for (const proxy of place.proxies) proxy.heal()
        await ours.untilItWorks()

        expect(await wrongsOf(ours, place.masters, { deadlineMs, forgets })).toEqual([])
        expect(ours.failed().length === 0, 'ours went on').toBe(unnoticed)
        await waitUntil('the control: the bare client hangs, fails or counts twice', async () => {
          const doubles = await doublesOf(bare, place.masters)
          return [...bare.slowerThan(hangsMs), ...bare.failed(), ...doubles].length > 0
        })
      })
    })
  })
})

async function startLoads(place: Proxied, timeoutMs: number): Promise<Loads & AsyncDisposable> {
  for (const server of place.masters) {
    await server.flush()
    await server.cli('SCRIPT', 'LOAD', bareCounting.source)
  }
  await using started = new AsyncDisposableStack()
  const { connection } = started.use(await openWith({ url: place.url }))
  const { redis } = started.use(place.bareClient())
  const loads = {
    ours: started.use(new Load('ours', askerOf(connection, timeoutMs))),
    bare: started.use(new Load('bare', bareAskerOf(redis))),
  }
  await untilAnswersAreUnderWay(loads)
  const all = started.move()
  return { ...loads, [Symbol.asyncDispose]: () => all.disposeAsync() }
}

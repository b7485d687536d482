import { figure, seededRandom, serversAvailable, startRedis, waitUntil } from '@multinode/testbed'
import { describe, expect, it } from 'vitest'
import { type Group, milliseconds, seconds } from './fixtures/group.ts'
import { idsIn, MadeIds, type Tenure } from './made-ids.ts'
import { MakerProcess, nowMs } from './maker-process.ts'

const cycles = figure({ slice: 4, full: 24 })
const leastIds = figure({ slice: 50_000, full: 1_000_000 })
const terms = { leaseMs: 500, quarantineMs: 150, maxSkewMs: 5_000, maxAheadMs: 1_000 }

// One worker id, with ids that run ahead of the clock, so that a stopped process may have timestamps left when it goes on; and 32
// worker ids for twice 24 generators.
const one = { range: 1, generators: 1, burst: 1_500, pauseMs: 5, leadMs: 900, terms }
const many = { range: 32, generators: 24, pauseMs: 40, terms }
const groups: readonly Group[] = (['window', 'lease'] as const).flatMap((how) => [
  { ...one, name: `${how}-1-s`, how, layout: seconds },
  { ...one, name: `${how}-1-ms`, how, layout: milliseconds },
  { ...many, name: `${how}-32-s`, how, layout: seconds, burst: 200 },
  { ...many, name: `${how}-32-ms`, how, layout: milliseconds, burst: 640 },
])
const contested = groups.filter(({ range }) => range === 1)

interface Stop {
  readonly victim: string
  readonly stoppedAtMs: number
  readonly resumedAtMs: number
}

interface Outcome {
  readonly ids: number
  readonly duplicates: number
  readonly crossings: number
  /** A worker id that its holder had made ids with just before it was stopped, and another process before it went on. */
  readonly handOvers: number
  /** Of these, how many stopped ones made ids when they went on, with the worker id that was another one's; and how many ids. */
  readonly wentOn: number
  readonly idsAfter: number
}

describe.skipIf(!serversAvailable())('processes that are stopped past their leases, and go on', () => {
  it(
    'make no id that another one made meanwhile, where it has a window; with a lease alone they do',
    { timeout: 600_000 },
    async ({ annotate }) => {
      const made = new MadeIds()
      const stops = await stopAndGo(made)
      const outcomes = groups.map(({ name, how }) => ({ name, how, ...judge(made, name, stops) }))
      await annotate(`${stops.length} stops`)
      for (const outcome of outcomes) await annotate(JSON.stringify(outcome))
      const windows = outcomes.filter(({ how }) => how === 'window')
      const leases = outcomes.filter(({ how }) => how === 'lease')
      expect(windows.filter(({ duplicates, crossings }) => duplicates + crossings > 0)).toEqual([])
      expect(windows.reduce((total, { ids }) => total + ids, 0)).toBeGreaterThan(leastIds)
      const notHandedOver = outcomes.filter(({ handOvers }) => handOvers < cycles)
      expect(notHandedOver, 'or nothing is proven').toEqual([])
      const harmless = leases.filter(({ wentOn, duplicates }) => wentOn === 0 || duplicates === 0)
      expect(harmless, 'the control').toEqual([])
    },
  )
})

/** Two processes in turns: the one that has the worker ids is stopped for 1.2 to 5 leases, and until the other one has made ids with them. */
async function stopAndGo(made: MadeIds): Promise<readonly Stop[]> {
  const random = seededRandom()
  await using server = await startRedis()
  const start = (name: string): Promise<MakerProcess> =>
    MakerProcess.start({ name, url: server.url, groups, made })
  await using stack = new AsyncDisposableStack()
  let [victim, heir] = await Promise.all([start('a'), start('b')])
  stack.use(victim)
  stack.use(heir)
  victim.go()
  await victim.making(groups)
  heir.go()
  const stops: Stop[] = []
  // A busy machine can cost a process a lease, so that a stop is no hand-over of all, or keep apart what would meet: then there are more.
  const isEnough = ({ name, how }: Group): boolean => {
    const { handOvers, wentOn, duplicates } = judge(made, name, stops)
    return handOvers >= cycles && (how === 'window' || (wentOn > 0 && duplicates > 0))
  }
  while (stops.length < cycles || (stops.length < 4 * cycles && !groups.every(isEnough))) {
    // Every third one is as short as they come: then timestamps of its own are left.
    const leases = stops.length % 3 === 0 ? 1.2 : random.between(12, 50) / 10
    const leastMs = leases * terms.leaseMs
    await victim.child.pause()
    const stoppedAtMs = nowMs()
    await heir.making(contested)
    await waitUntil(`${leases} leases of stop`, () => nowMs() - stoppedAtMs >= leastMs)
    await heir.making(groups)
    const resumedAtMs = nowMs()
    victim.child.resume()
    stops.push({ victim: victim.name, stoppedAtMs, resumedAtMs })
    const { name } = victim
    const isLost = ({ name: group }: Group): boolean =>
      made.tenures(group, name).every(({ tookAtMs, ended }) => tookAtMs > stoppedAtMs || ended === 'lost')
    await waitUntil(`${name} to know what it lost (seed ${random.seed})`, () => contested.every(isLost))
    ;[victim, heir] = [heir, victim]
  }
  await Promise.all([victim.stop(), heir.stop()])
  return stops
}

function judge(made: MadeIds, group: string, stops: readonly Stop[]): Outcome {
  const lost = stops.flatMap((stop) => lostBy(made, group, stop).map((tenure) => ({ tenure, stop })))
  const after = lost.map(({ tenure, stop }) =>
    // Of the same ms as well: it made none while it was stopped.
    idsIn({ bursts: tenure.bursts.filter(({ atMs }) => atMs >= stop.resumedAtMs) }),
  )
  return {
    ids: made.count(group),
    duplicates: made.duplicates(group),
    crossings: made.crossings(group),
    handOvers: lost.length,
    wentOn: after.filter((ids) => ids > 0).length,
    idsAfter: after.reduce((total, each) => total + each, 0),
  }
}

/** What the stopped one had made ids with, at most a second before, and another one until it went on. */
function lostBy(made: MadeIds, group: string, { victim, stoppedAtMs, resumedAtMs }: Stop): Tenure[] {
  const madeWithin = ({ bursts }: Tenure, fromMs: number, toMs: number): boolean =>
    bursts.some(({ atMs }) => atMs > fromMs && atMs < toMs)
  const heirs = made
    .tenures(group)
    .filter((each) => each.maker !== victim && madeWithin(each, stoppedAtMs, resumedAtMs))
    .filter(({ tookAtMs }) => tookAtMs > stoppedAtMs)
  return made
    .tenures(group, victim)
    .filter((each) => madeWithin(each, stoppedAtMs - 1_000, stoppedAtMs + 1))
    .filter(({ worker }) => heirs.some((heir) => heir.worker === worker))
}

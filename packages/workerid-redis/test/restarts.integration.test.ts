import { figure, type RedisServer, serversAvailable, startRedis } from '@multinode/testbed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Group, type Layout, milliseconds, seconds } from './fixtures/group.ts'
import { MadeIds, type Tenure } from './made-ids.ts'
import { MakerProcess, nowMs } from './maker-process.ts'

const restarts = figure({ slice: 5, full: 100 })
/** To start one takes longer than it may be away. So each is there, connected, before the one before it is ended, and then told to begin. */
const standbys = 3
/** In milliseconds it runs ahead of the clock by more than the time that it is away. */
const bursts = new Map([
  [seconds, 1_000],
  [milliseconds, 60_000],
])
const common = { range: 128, generators: 1, pauseMs: 10, leadMs: 500, ownerKey: 'me' }
/** Its worker id is free again after a few restarts. */
const shortTerms = { leaseMs: 300, quarantineMs: 100, maxSkewMs: 5_000, maxAheadMs: 500 }

describe.skipIf(!serversAvailable())('a process that is restarted again and again', () => {
  const stack = new AsyncDisposableStack()
  let server: RedisServer

  beforeAll(async () => {
    server = stack.use(await startRedis())
  })

  afterAll(() => stack.disposeAsync())

  it(
    'by SIGKILL, makes no id twice, and never waits for a worker id; with a configured one it makes some twice',
    { timeout: 600_000 },
    async ({ annotate }) => {
      const groups = [seconds, milliseconds].flatMap((layout) => [
        group('window', layout, 'long', {}),
        group('window', layout, 'short', shortTerms),
        group('configured', layout, 'forever', {}),
      ])
      const made = new MadeIds()
      const awayMs = await restart('kill', made, () => groups)
      const sorted = awayMs.toSorted((a, b) => a - b)
      await annotate(`away for ${sorted[sorted.length >> 1]} ms in the median, ${sorted.at(-1)} ms at most`)
      const outcomes = groups.map(({ name, how }) => ({
        name,
        how,
        ids: made.count(name),
        workers: new Set(made.tenures(name).map(({ worker }) => worker)).size,
        duplicates: made.duplicates(name),
        crossings: made.crossings(name),
      }))
      for (const outcome of outcomes) await annotate(JSON.stringify(outcome))
      const windows = outcomes.filter(({ how }) => how === 'window')
      expect(windows.filter(({ duplicates, crossings }) => duplicates + crossings > 0)).toEqual([])
      const configured = outcomes.filter(({ how }) => how === 'configured')
      expect(
        configured.filter(({ duplicates }) => duplicates === 0),
        'the control',
      ).toEqual([])
    },
  )

  it(
    'that gives its worker id back, has the same one again; another owner would have another one',
    { timeout: 600_000 },
    async () => {
      // Never ahead of the clock: the worker id of one that was by more than `maxAheadMs` is not free at once.
      const calm = { burst: 1_000, leadMs: 0 }
      const kept = { ...group('window', seconds, 'kept', {}), ...calm }
      const keptMs = { ...group('window', milliseconds, 'kept', {}), ...calm }
      const made = new MadeIds()
      const groups = (index: number): readonly Group[] => {
        // The hint says another one each time, as it does where a restarted container has a new address.
        const prefer = index % common.range
        return [
          { ...kept, prefer },
          { ...keptMs, prefer },
          { ...kept, name: 'control', prefer, ownerKey: `me-${index}` },
        ]
      }
      await restart('stop', made, groups)
      const always = Array.from({ length: restarts + 1 }, () => 0)
      for (const { name } of [kept, keptMs]) {
        expect(workersOf(made.tenures(name))).toEqual(always)
        expect(made.duplicates(name) + made.crossings(name)).toBe(0)
      }
      const control = new Set(workersOf(made.tenures('control')))
      expect(control.size, 'the control').toBe(restarts + 1)
    },
  )

  /** @returns for how long there was none that made ids, each time */
  async function restart(
    end: 'kill' | 'stop',
    made: MadeIds,
    groupsOf: (index: number) => readonly Group[],
  ): Promise<readonly number[]> {
    await using started = new AsyncDisposableStack()
    const start = async (index: number): Promise<MakerProcess> => {
      const groups = groupsOf(index)
      return started.use(await MakerProcess.start({ name: `${end}-${index}`, url: server.url, groups, made }))
    }
    const waiting = Array.from({ length: standbys }, (_, index) => start(index))
    const awayMs: number[] = []
    let endedAtMs = NaN
    for (let index = 0; index <= restarts; index += 1) {
      const maker = await waiting[index]
      if (maker === undefined) throw new Error(`nobody waits to be number ${index}`)
      maker.go()
      await maker.making(groupsOf(index))
      if (index > 0) awayMs.push(nowMs() - endedAtMs)
      if (index + standbys <= restarts) waiting.push(start(index + standbys))
      await waiting[index + 1]
      // The first timestamp may be a second ahead: the second burst comes when it is not.
      if (end === 'stop') await maker.making(groupsOf(index))
      endedAtMs = nowMs()
      await maker[end]()
      if (end === 'stop') waiting[index] = maker[Symbol.asyncDispose]().then(() => maker)
    }
    return awayMs
  }
})

function group(how: Group['how'], layout: Layout, what: string, terms: Group['terms']): Group {
  const name = `${how}-${what}-${layout === seconds ? 's' : 'ms'}`
  return { ...common, name, how, layout, terms, burst: bursts.get(layout) ?? NaN }
}

function workersOf(tenures: readonly Tenure[]): readonly number[] {
  return tenures.map(({ worker }) => worker)
}

import { serversAvailable, startRedis, waitUntil } from '@multinode/testbed'
import { describe, expect, it } from 'vitest'
import { type Group, milliseconds, seconds } from './fixtures/group.ts'
import { MadeIds, spanOf } from './made-ids.ts'
import { MakerProcess } from './maker-process.ts'

const hourMs = 3_600_000
const common = {
  range: 1,
  generators: 1,
  burst: 100,
  pauseMs: 5,
  terms: { leaseMs: 600, quarantineMs: 200, maxSkewMs: 5_000, maxAheadMs: 5_000 },
}
const windows: readonly Group[] = [
  { ...common, name: 'window-s', how: 'window', layout: seconds },
  { ...common, name: 'window-ms', how: 'window', layout: milliseconds },
]
/** In milliseconds it leaves out no timestamp that its clock passes, unless it comes to its turn less than twice in a second. */
const withoutFloor: readonly Group[] = windows.map((group) => ({
  ...group,
  name: `no-floor-${group.name}`,
  how: 'no floor',
  burst: 2_000,
  leadMs: 500,
}))

// The clock needs libfaketime.
describe
  .runIf(serversAvailable() && process.platform === 'linux')
  .concurrent('a process whose time of day is wrong', { timeout: 60_000 }, () => {
    it('by an hour is refused, is told both times, and is let in once its clock is set', async () => {
      const lease: Group = { ...common, name: 'lease-ms', how: 'lease', layout: milliseconds }
      await using scene = await Scene.start([...windows, lease])
      const { wrong, made } = scene
      for (const byMs of [hourMs, -hourMs]) {
        wrong.child.moveClock(byMs)
        wrong.go()
        for (const { name } of windows) {
          const refusal = await wrong.saying(new RegExp(`^failed ${name} CLOCK_SKEW`))
          const [here = NaN, there = NaN] = timesIn(refusal)
          expect(Math.abs(here - there - byMs)).toBeLessThan(5_000)
          expect(Math.abs(there - Date.now())).toBeLessThan(20_000)
        }
        await wrong.making([lease])
        const last = made.tenures(lease.name).at(-1)
        const wrongByMs = last === undefined ? NaN : spanOf(last).last - Date.now()
        expect(Math.abs(wrongByMs - byMs), 'the control: its ids are of that time').toBeLessThan(20_000)
        await wrong.stop()
        wrong.child.moveClock(-byMs)
        wrong.go()
        await wrong.making(windows)
        await wrong.stop()
      }
    })

    it('by 2 s, ahead and behind, makes no id twice over hand-overs; without a floor it does', async ({
      annotate,
    }) => {
      await using scene = await Scene.start([...windows, ...withoutFloor])
      const { wrong, right } = scene
      wrong.child.moveClock(2_000)
      await scene.turn(wrong)
      // Until its clock has passed all that the one before it used.
      await scene.turn(right, { passing: wrong })
      await scene.turn(wrong)
      wrong.child.moveClock(-4_000)
      await scene.turn(right)
      await scene.turn(wrong, { passing: right })
      await scene.turn(right)
      wrong.child.moveClock(4_000)
      wrong.go()
      await wrong.making(scene.groups)
      // Nobody is told what it used.
      await wrong.kill()
      await scene.turn(right, { passing: wrong })
      const outcomes = scene.outcomes()
      for (const each of outcomes) await annotate(JSON.stringify(each))
      expect(
        outcomes.filter(({ tenures }) => tenures < 8),
        'or nothing is proven',
      ).toEqual([])
      expect(outcomes.filter(isUnsafeWindow)).toEqual([])
      const harmless = outcomes.filter(({ how, duplicates }) => how === 'no floor' && duplicates === 0)
      expect(harmless, 'the control').toEqual([])
    })

    it('while it has a worker id is told so, uses no time but its own, and goes on', async ({ annotate }) => {
      const clock: Group = { ...common, name: 'clock-s', how: 'clock', layout: seconds }
      await using scene = await Scene.start([...windows, clock])
      const { wrong, right, groups, made } = scene
      wrong.go()
      await wrong.making(groups)
      wrong.child.moveClock(hourMs)
      await scene.untilSkewed('ahead of')
      await waitUntil('no more ids', () => windows.every(({ name }) => isRefused(made, name)))
      await wrong.making([clock])
      // The time is set in two steps: some of it comes again.
      const lastTick = scene.lastTick(clock, wrong)
      wrong.child.moveClock(-1_000)
      await waitUntil('the time to be as late again', () => scene.lastTick(clock, wrong, 'now') > lastTick)
      wrong.child.moveClock(1_000 - hourMs)
      await wrong.making(groups)
      wrong.child.moveClock(-hourMs)
      await scene.untilSkewed('behind')
      await wrong.making(groups)
      wrong.child.moveClock(hourMs)
      await wrong.making(groups)
      await wrong.stop()
      await scene.turn(right)
      const outcomes = scene.outcomes()
      for (const each of outcomes) await annotate(JSON.stringify(each))
      expect(
        outcomes.filter(({ tenures }) => tenures < 2),
        'or nothing is proven',
      ).toEqual([])
      expect(outcomes.filter(isUnsafeWindow)).toEqual([])
      const unsafe = outcomes.filter(({ duplicates, spanMs }) => duplicates > 0 && spanMs >= hourMs)
      expect(
        unsafe.map(({ name }) => name),
        'the control',
      ).toEqual([clock.name])
    })
  })

interface Outcome {
  readonly name: string
  readonly how: Group['how']
  readonly tenures: number
  readonly ids: number
  readonly duplicates: number
  readonly crossings: number
  /** From the first timestamp of all to the last one. */
  readonly spanMs: number
}

function isUnsafeWindow({ how, duplicates, crossings, spanMs }: Outcome): boolean {
  return how === 'window' && (duplicates > 0 || crossings > 0 || spanMs > hourMs / 2)
}

function timesIn(text: string): readonly number[] {
  return [...text.matchAll(/\d{4}-[\d:T.-]+Z/g)].map(([each]) => Date.parse(each))
}

function isRefused(made: MadeIds, group: string): boolean {
  const last = made.tenures(group).at(-1)
  return (last?.refusedAtMs.at(-1) ?? -1) > (last?.bursts.at(-1)?.atMs ?? NaN)
}

/** A process with a clock that can be moved, and one whose clock is right. */
class Scene implements AsyncDisposable {
  readonly groups: readonly Group[]
  readonly made: MadeIds
  readonly wrong: MakerProcess
  readonly right: MakerProcess
  readonly #stack: AsyncDisposableStack

  private constructor(
    groups: readonly Group[],
    made: MadeIds,
    makers: readonly [MakerProcess, MakerProcess],
    stack: AsyncDisposableStack,
  ) {
    this.groups = groups
    this.made = made
    this.wrong = makers[0]
    this.right = makers[1]
    this.#stack = stack
  }

  static async start(groups: readonly Group[]): Promise<Scene> {
    await using stack = new AsyncDisposableStack()
    const { url } = stack.use(await startRedis())
    const made = new MadeIds()
    const start = async (name: string, clock: boolean): Promise<MakerProcess> =>
      stack.use(await MakerProcess.start({ name, url, groups, made, clock }))
    const makers = await Promise.all([start('wrong', true), start('right', false)])
    return new Scene(groups, made, makers, stack.move())
  }

  /** Has the worker ids until it has made ids with all of them, or until the time of those that another one made is over by its clock. */
  async turn(maker: MakerProcess, { passing }: { passing?: MakerProcess } = {}): Promise<void> {
    maker.go()
    await maker.making(this.groups)
    if (passing !== undefined) {
      const hasPassed = (group: Group): boolean =>
        this.lastTick(group, maker, 'now') > this.lastTick(group, passing)
      await waitUntil('a clock to be as late', () => this.groups.every(hasPassed))
    }
    await maker.stop()
  }

  /** The highest timestamp that it ever used, or the one that it used last. */
  lastTick({ name }: Group, maker: MakerProcess, when: 'ever' | 'now' = 'ever'): number {
    const tenures = this.made.tenures(name, maker.name)
    if (when === 'ever') return Math.max(...tenures.map((each) => spanOf(each).last))
    return tenures.at(-1)?.bursts.at(-1)?.runs.at(-1)?.tick ?? NaN
  }

  async untilSkewed(direction: string): Promise<void> {
    for (const { name } of windows) {
      await this.wrong.saying(new RegExp(`^error ${name} CLOCK_SKEW .* ms ${direction} `))
    }
  }

  outcomes(): readonly Outcome[] {
    return this.groups.map(({ name, how, layout }) => {
      const tenures = this.made.tenures(name)
      const spans = tenures.filter(({ bursts }) => bursts.length > 0).map(spanOf)
      const first = Math.min(...spans.map((each) => each.first))
      const last = Math.max(...spans.map((each) => each.last))
      return {
        name,
        how,
        tenures: tenures.length,
        ids: this.made.count(name),
        duplicates: this.made.duplicates(name),
        crossings: this.made.crossings(name),
        spanMs: (last - first) * layout.tickMs,
      }
    })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync()
  }
}

import type { Clock, Timer } from '../../src/index.ts'
import type { SeededRandom } from './seeded-random.ts'
import { turn } from './outcome.ts'

interface Event {
  readonly atMs: number
  readonly process: Pick<SimulatedProcess, 'do'>
  readonly work: () => void
}

/** True time, which nobody in the world can see, and all that is going to happen in it. */
export class SimulatedWorld {
  readonly random: SeededRandom
  /** What must not have happened, in words. */
  readonly violations: string[] = []
  #nowMs = 0
  /** By time. */
  readonly #events: Event[] = []

  constructor(random: SeededRandom) {
    this.random = random
  }

  get nowMs(): number {
    return this.#nowMs
  }

  /** Lets the process do `work` after so much true time, or as soon as it runs again. */
  after(delayMs: number, process: Pick<SimulatedProcess, 'do'>, work: () => void): Timer {
    const event: Event = { atMs: this.#nowMs + delayMs, process, work }
    // From the end, as most of what is planned comes late.
    const index = this.#events.findLastIndex((earlier) => earlier.atMs <= event.atMs) + 1
    this.#events.splice(index, 0, event)
    return {
      cancel: () => {
        const place = this.#events.indexOf(event)
        if (place !== -1) this.#events.splice(place, 1)
      },
    }
  }

  /** Until nothing is left to happen, or until a violation. */
  async run(look: () => void): Promise<void> {
    for (let events = 0; events < maxEvents; events += 1) {
      const event = this.#events.shift()
      if (event === undefined || this.violations.length > 0) return
      this.#nowMs = event.atMs
      event.process.do(event.work)
      await turn()
      look()
    }
    this.violations.push(`it goes on after ${maxEvents} events`)
  }
}

const maxEvents = 50_000

/** A process with clocks of its own, which can be stopped for a while: then it does nothing, and its clocks go on. */
export class SimulatedProcess {
  readonly clock: Clock
  readonly #world: SimulatedWorld
  readonly #rate: number
  readonly #overdue: (() => void)[] = []
  #wallOffsetMs: number
  #pauses = 0
  #pausedAtMs = 0
  #pausedMs = 0

  /** `rate`: how fast its clocks are; 1 is right. */
  constructor(world: SimulatedWorld, { rate, wallMs }: { rate: number; wallMs: number }) {
    this.#world = world
    this.#rate = rate
    this.#wallOffsetMs = wallMs
    const monotonicMs = (): number => world.nowMs * rate
    this.clock = {
      monotonicMs,
      wallMs: () => monotonicMs() + this.#wallOffsetMs,
      // Timers are late by up to a millisecond, as they are.
      setTimer: (callback, delayMs) => world.after(delayMs / rate + world.random.next(), this, callback),
    }
  }

  /** How long it was stopped up to now, by its own clock. */
  get pausedMs(): number {
    const pausingMs = this.#pauses > 0 ? this.#world.nowMs - this.#pausedAtMs : 0
    return (this.#pausedMs + pausingMs) * this.#rate
  }

  do(work: () => void): void {
    if (this.#pauses > 0) this.#overdue.push(work)
    else work()
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.clock.setTimer(resolve, ms, 'foreground')
    })
  }

  jumpWallClock(ms: number): void {
    this.#wallOffsetMs += ms
  }

  /** Stops the process for so much true time; what becomes due meanwhile is done, in order, when it goes on. */
  pause(ms: number): void {
    if (this.#pauses === 0) this.#pausedAtMs = this.#world.nowMs
    this.#pauses += 1
    this.#world.after(ms, outside, () => this.#resume())
  }

  #resume(): void {
    this.#pauses -= 1
    if (this.#pauses > 0) return
    this.#pausedMs += this.#world.nowMs - this.#pausedAtMs
    for (const work of this.#overdue.splice(0)) this.#world.after(0, this, work)
  }
}

/** What stops and continues processes is itself never stopped. */
const outside = { do: (work: () => void): void => work() }

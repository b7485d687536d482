import type { MemoryJob } from './memory-line.ts'
import type { JobPriority } from './queue-driver.ts'

interface Entry {
  readonly job: MemoryJob
  readonly move: number
}

/** First in, first out, for each priority; jobs that were taken out meanwhile are passed over. */
export class WaitingJobs {
  readonly #lists: Record<JobPriority, Fifo> = { high: new Fifo(), normal: new Fifo(), low: new Fifo() }

  /** Those that were taken out, and not yet passed over, included. */
  get entries(): number {
    const { high, normal, low } = this.#lists
    return high.length + normal.length + low.length
  }

  push(job: MemoryJob): void {
    this.#lists[job.priority].push({ job, move: job.move })
  }

  /** Lets go of those that were taken out. */
  compact(): void {
    for (const list of Object.values(this.#lists)) list.keep(isStill)
  }

  first(): MemoryJob | undefined {
    return this.#next()?.first?.job
  }

  shift(): MemoryJob | undefined {
    return this.#next()?.shift()?.job
  }

  #next(): Fifo | undefined {
    for (const priority of ['high', 'normal', 'low'] as const) {
      const list = this.#lists[priority]
      while (list.first !== undefined && !isStill(list.first)) list.shift()
      if (list.first !== undefined) return list
    }
    return undefined
  }
}

function isStill({ job, move }: Entry): boolean {
  return job.state === 'waiting' && job.move === move
}

/** An array whose begin moves, because `shift` of a long one copies all of it. */
class Fifo {
  #entries: Entry[] = []
  #begin = 0

  get length(): number {
    return this.#entries.length - this.#begin
  }

  get first(): Entry | undefined {
    return this.#entries[this.#begin]
  }

  keep(isKept: (entry: Entry) => boolean): void {
    this.#entries = this.#entries.slice(this.#begin).filter(isKept)
    this.#begin = 0
  }

  push(entry: Entry): void {
    this.#entries.push(entry)
  }

  shift(): Entry | undefined {
    const { first } = this
    this.#begin += 1
    if (this.#begin > 1_000 && this.#begin * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#begin)
      this.#begin = 0
    }
    return first
  }
}

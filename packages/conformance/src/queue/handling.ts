import { setTimeout as sleep } from 'node:timers/promises'
import type { AddOptions, DeadLetter, Job, Queue, QueueCounts, QueueFeatures } from '@multinode/core'
import type { QueueWorld } from './queue-world.ts'

export { refusal } from '../refusal.ts'

const everyMs = 10

/** How long nothing must happen, where that is the point. */
export const quietMs = 300

/** Between attempts, where it does not matter. */
export const soon = { type: 'fixed', delayMs: 20, jitter: 0 } as const

/** For workers that a case takes away: as short as a lease may be. */
export const shortLeaseMs = 1_000

/** How long a takeover may take: the lease, and what a backend needs to notice. */
export const takeoverMs = 20_000

/** Resolves as soon as it is so, and rejects when it is not in time. */
export async function until(
  what: string,
  isSo: () => boolean | Promise<boolean>,
  patienceMs = 30_000,
): Promise<void> {
  const untilMs = performance.now() + patienceMs
  while (!(await isSo())) {
    if (performance.now() > untilMs) throw new Error(`after ${patienceMs} ms it is still not so: ${what}`)
    await sleep(everyMs)
  }
}

/** Of whatever payloads. */
type AnyQueue = Pick<Queue, 'counts' | 'deadLetters'>

type Expected = Partial<Pick<QueueCounts, 'waiting' | 'active' | 'delayed' | 'dead'>>

/** Approximate numbers come true after a moment; `null` is what the backend does not know. */
export async function untilCounts(queue: AnyQueue, expected: Expected): Promise<QueueCounts> {
  let counts = await queue.counts()
  const isAsExpected = (): boolean =>
    (['waiting', 'active', 'delayed', 'dead'] as const).every(
      (name) => expected[name] === undefined || counts[name] === null || counts[name] === expected[name],
    )
  await until(`the counts are ${JSON.stringify(expected)}`, async () => {
    if (isAsExpected()) return true
    counts = await queue.counts()
    return isAsExpected()
  })
  return counts
}

/** When nothing waits, runs or is delayed any more, as far as the backend knows. */
export async function untilEmpty(queue: AnyQueue): Promise<void> {
  await untilCounts(queue, { waiting: 0, active: 0, delayed: 0 })
}

/** The dead letters, as soon as there are so many. */
export async function untilDead(queue: AnyQueue, count: number): Promise<DeadLetter[]> {
  let letters: DeadLetter[] = []
  await until(`there are ${count} dead letters`, async () => {
    letters = await queue.deadLetters.list()
    return letters.length >= count
  })
  return letters
}

/** Work that goes on until it is told to end, or its job's signal is aborted. */
export class Gate {
  readonly #opened = new AbortController()
  /** What waits, or waited, at it. */
  readonly arrived: unknown[] = []

  open(): void {
    this.#opened.abort()
  }

  /** A handler. Rejects with the reason when its signal is aborted. */
  readonly pass = async ({ payload, signal }: Job): Promise<void> => {
    this.arrived.push(payload)
    await aborted(AbortSignal.any([this.#opened.signal, signal]))
    if (!this.#opened.signal.aborted) throw new Error(`aborted: ${String(signal.reason)}`)
  }
}

/** Resolves when it is. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

/** A handler that heeds no signal, and never ends. */
export function deaf(): Promise<never> {
  return new Promise(() => {})
}

export function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index)
}

/** Of payloads that are numbers. */
export function sorted(payloads: readonly unknown[]): unknown[] {
  return payloads.toSorted((a, b) => Number(a) - Number(b))
}

/** Rejects with the reason where one of them was not added, so that no case waits for it in vain. */
export async function addAll<T>(
  queue: Pick<Queue<T>, 'addMany'>,
  payloads: readonly T[],
  options: AddOptions = {},
): Promise<void> {
  const results = await queue.addMany(payloads.map((payload) => ({ payload, options })))
  for (const result of results) if (result.status === 'failed') throw result.error
}

type Ability = 'dedupe' | 'lookup' | 'progress' | 'clusterPause' | 'exactCounts'

/** Skips a case where the adapter declares that it cannot do that. */
export function without(...abilities: Ability[]): (world: QueueWorld) => Promise<string | undefined> {
  return async (world) => {
    const features: QueueFeatures = await world.features()
    const missing = abilities.find((ability) => !features[ability])
    return missing === undefined ? undefined : `the adapter declares no ${missing}`
  }
}

/** Skips a case that is about what an adapter lacks. */
export function withIt(ability: Ability): (world: QueueWorld) => Promise<string | undefined> {
  return async (world) => {
    const features: QueueFeatures = await world.features()
    return features[ability] ? `the adapter has ${ability}` : undefined
  }
}

import { MultinodeError } from '../errors/multinode-error.ts'
import { reasonOf } from '../errors/to-driver-error.ts'
import type { Timer } from '../runtime/clock.ts'
import { type EntryOptions, jittered, type LoadSettings, readFactoryOptions } from './cache-options.ts'
import { type Found, readEntry, takeTurn, type Turn } from './claim.ts'
import { oldestUnheardMs } from './coherence.ts'
import type { StoredEntry } from './cache-driver.ts'
import type { Mark } from './local-entries.ts'
import type { MakingLease } from './making-lease.ts'
import { failsOpen, type SpaceParts } from './space-parts.ts'

/** What a factory is given. */
export interface FactoryContext<T> {
  readonly key: string
  /** Aborted when the call that asked for the value has waited for `hardTimeoutMs`, and when the cluster object is closed. */
  readonly signal: AbortSignal
  /** The value that is not fresh any more, if it is there. */
  readonly stale: T | undefined
  /** For this value, when how long it lasts is known only now. */
  readonly setOptions: (options: EntryOptions) => void
}

/** Makes a value. `undefined` is passed on and not stored. */
export type Factory<T> = (context: FactoryContext<T>) => T | undefined | Promise<T | undefined>

/** Where a value came from. `stale`: it is not fresh any more. */
export interface Loaded<T> {
  readonly value: T | undefined
  readonly from: 'backend' | 'factory' | 'stale'
}

export interface LoadRequest<T> {
  readonly key: string
  readonly factory: Factory<T>
  readonly settings: LoadSettings
}

/** A value that is not fresh any more. */
export interface Stale<T> {
  readonly value: T
  readonly tags: readonly string[]
}

/** One search for a value, and its making where there is none: for all who ask for it in this process at that time. */
export class Load<T> {
  readonly key: string
  readonly result: Promise<Loaded<T>>
  readonly #parts: SpaceParts<T>
  readonly #request: LoadRequest<T>
  /** Made when somebody may wait for it: not for what is found. */
  #abort: AbortController | undefined
  readonly #startedMs: number
  #settle: { resolve(loaded: Loaded<T>): void; reject(error: unknown): void } | undefined
  #lease: MakingLease<T> | undefined
  #turn: Promise<Turn<T>> | undefined
  #times: { readonly ttlMs: number; readonly graceMs: number }
  #timer: Timer | undefined
  #stale: Stale<T> | undefined
  /** What it finds is not known yet. */
  #isSearching = true
  #onStale: (() => void)[] = []
  /** Until when somebody waits for it. */
  #untilMs = 0
  #isAborted = false
  #isInvalidated = false
  #isClosed = false

  constructor(parts: SpaceParts<T>, request: LoadRequest<T>) {
    this.#parts = parts
    this.#request = request
    this.key = request.key
    this.#times = request.settings
    this.#startedMs = parts.context.clock.monotonicMs()
    this.result = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
    })
    void this.#run()
  }

  /** What is served while, or because, there is none that is fresh; once it is known. */
  get stale(): Stale<T> | undefined {
    return this.#stale
  }

  /** Whether what it gives out, or makes, may have one of these tags. `unknown`: what it finds may. */
  concernedBy(tags: readonly string[]): boolean | 'unknown' {
    const own = [...this.#request.settings.tags, ...(this.#stale?.tags ?? [])]
    if (own.some((tag) => tags.includes(tag))) return true
    return this.#isSearching ? 'unknown' : false
  }

  /** Nobody should ask it any more. */
  get isAborted(): boolean {
    return this.#isAborted
  }

  /** Calls back once, when {@link stale} is known; never if there is none. */
  whenStale(callback: () => void): void {
    this.#onStale.push(callback)
  }

  /** What it finds or makes is only for those who have asked already, and is stored nowhere. */
  markInvalidated(): void {
    this.#isInvalidated = true
    // Who asks from now on need not wait for it.
    void this.#lease?.release()
  }

  /** Somebody else waits for it, for so long from now; undefined: as long as it takes. */
  allow(hardTimeoutMs: number | undefined): void {
    const { clock } = this.#parts.context
    const untilMs = hardTimeoutMs === undefined ? Infinity : clock.monotonicMs() + hardTimeoutMs
    this.#untilMs = Math.max(this.#untilMs, untilMs)
  }

  get #aborting(): AbortController {
    this.#abort ??= new AbortController()
    return this.#abort
  }

  /** The factory has had its time. What it makes all the same is stored, if that does not take longer than `leaseMs` more. */
  #expire(reason: Error): void {
    this.#isAborted = true
    this.#timer?.cancel()
    this.#lease?.stopRenewing()
    this.#aborting.abort(reason)
  }

  /** Rejects at once, whatever the factory does. Resolves when other nodes can make the value, after two calls of the backend at most. Never rejects. */
  async close(reason: Error): Promise<void> {
    this.#isClosed = true
    this.#expire(reason)
    this.#settle?.reject(reason)
    const turn = await this.#turn?.catch(() => undefined)
    if (turn?.status === 'ours') await turn.lease.release()
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const { local } = this.#parts
    const mark = local.begin(this.key)
    this.#startTimer(this.#request.settings.hardTimeoutMs)
    try {
      this.#settle?.resolve(await this.#findOrMake(mark))
    } catch (error) {
      this.#settle?.reject(error)
    } finally {
      this.#timer?.cancel()
      local.end(mark)
    }
  }

  #startTimer(hardTimeoutMs: number | undefined): void {
    if (hardTimeoutMs === undefined) return
    const { clock } = this.#parts.context
    const look = (): void => {
      const leftMs = this.#untilMs - clock.monotonicMs()
      if (leftMs <= 0) this.#expire(lateLoad(this.#parts, this.key, hardTimeoutMs))
      else if (leftMs < Infinity) this.#timer = clock.setTimer(look, leftMs, 'background')
    }
    this.#timer = clock.setTimer(look, hardTimeoutMs, 'background')
  }

  async #findOrMake(mark: Mark): Promise<Loaded<T>> {
    const { clock } = this.#parts.context
    const entry = await this.#find()
    const found = entry === undefined || entry === 'away' ? undefined : readEntry(this.#parts, entry)
    if (found !== undefined && found.entry.freshMs > 0) {
      this.#keepFound(mark, found, this.#startedMs)
      return { value: found.value, from: 'backend' }
    }
    this.#becomeStale(staleOf(found))
    const claimedMs = clock.monotonicMs()
    if (entry !== 'away') this.#turn = this.#takeTurn()
    const turn = (await this.#turn) ?? ({ status: 'alone', isAway: true } as const)
    switch (turn.status) {
      case 'stored':
        this.#keepFound(mark, turn.found, claimedMs)
        return { value: turn.found.value, from: 'backend' }
      case 'theirs':
        this.#becomeStale(staleOf(turn.stale))
        return { value: turn.stale.value, from: 'stale' }
      case 'ours':
        this.#lease = turn.lease
        this.#becomeStale(staleOf(turn.stale))
        return this.#make(mark, false)
      case 'alone':
        if (turn.isAway) this.#becomeStale(this.#stale ?? this.#parts.local.kept(this.key))
        return this.#make(mark, turn.isAway)
    }
  }

  #takeTurn(): Promise<Turn<T>> {
    return takeTurn(this.#parts, {
      key: this.key,
      tags: this.#request.settings.tags,
      signal: this.#aborting.signal,
      // What was found is invalid since.
      onNothing: () => this.#becomeStale(undefined),
    })
  }

  async #find(): Promise<StoredEntry | 'away' | undefined> {
    const { backend, space, settings } = this.#parts
    try {
      return await backend.read('get', settings.timeoutMs, (timeoutMs) => space.get(this.key, timeoutMs))
    } catch (error) {
      if (failsOpen(this.#parts, error)) return 'away'
      throw error
    }
  }

  async #make(mark: Mark, isAway: boolean): Promise<Loaded<T>> {
    this.#isSearching = false
    try {
      const value = await this.#callFactory()
      if (value === undefined || this.#isClosed) await this.#lease?.release()
      else await this.#store(mark, value, isAway)
      return { value, from: 'factory' }
    } catch (error) {
      await this.#lease?.release()
      const stale = this.#stale
      if (stale === undefined || this.#isClosed) throw error
      this.#reportFailure(error)
      return { value: stale.value, from: 'stale' }
    }
  }

  async #callFactory(): Promise<T | undefined> {
    const { stats } = this.#parts
    const { signal } = this.#aborting
    signal.throwIfAborted()
    stats.factoryRuns += 1
    const context: FactoryContext<T> = {
      key: this.key,
      signal,
      stale: this.#stale?.value,
      setOptions: (options) => {
        this.#times = readFactoryOptions(options, this.#times)
      },
    }
    try {
      return await this.#request.factory(context)
    } catch (error) {
      stats.factoryFailures += 1
      // What it says when it is told to end is no news.
      throw this.#isAborted ? signal.reason : error
    }
  }

  /** @throws what the value is refused for; a backend that fails is none of the caller's trouble */
  async #store(mark: Mark, value: T, isAway: boolean): Promise<void> {
    const { codec, context, stats, settings } = this.#parts
    const data = codec.encode(value)
    const isNegative = value === null && this.#request.settings.negativeTtlMs !== undefined
    const times = isNegative ? { ttlMs: this.#request.settings.negativeTtlMs ?? 0, graceMs: 0 } : this.#times
    const ttlMs = jittered(times.ttlMs, settings.jitter)
    const sinceMs = context.clock.monotonicMs()
    if (this.#isInvalidated) {
      stats.refusedFills += 1
      return this.#lease?.release()
    }
    const { tags } = this.#request.settings
    const entry = { key: this.key, data, ttlMs, graceMs: times.graceMs, tags }
    const isStored = this.#lease !== undefined && (await this.#fill(this.#lease, entry))
    if (isStored) this.#keep(mark, data, { sinceMs, freshMs: ttlMs, keptMs: ttlMs + times.graceMs })
    if (!isAway) return
    // Nobody is asked for it in vain for a while; nobody can say whether it changes.
    const shortMs = Math.min(ttlMs, oldestUnheardMs)
    this.#keep(mark, data, { sinceMs, freshMs: shortMs, keptMs: ttlMs + times.graceMs })
  }

  async #fill(lease: MakingLease<T>, entry: Parameters<MakingLease<T>['fill']>[0]): Promise<boolean> {
    try {
      const isStored = (await lease.fill(entry)) === 'stored'
      if (!isStored) this.#parts.stats.refusedFills += 1
      return isStored
    } catch (error) {
      // Whatever became of it: nobody makes this value any more.
      void lease.release()
      if (!this.#isClosed && !failsOpen(this.#parts, error)) throw error
      return false
    }
  }

  /** As the backend has it, and not the object that the caller gets and may change. */
  #keep(
    mark: Mark,
    data: Buffer,
    times: { readonly sinceMs: number; readonly freshMs: number; readonly keptMs: number },
  ): void {
    const { local, codec } = this.#parts
    if (!local.isOn || !local.isUntouched(mark)) return
    const value = codec.decode(data) as T | undefined
    const { tags } = this.#request.settings
    if (value !== undefined) local.put(mark, { value, tags, bytes: data.byteLength, ...times })
  }

  #keepFound(mark: Mark, { value, entry }: Found<T>, sinceMs: number): void {
    const { data, tags, freshMs, keptMs } = entry
    this.#parts.local.put(mark, { value, tags, sinceMs, freshMs, keptMs, bytes: data.byteLength })
  }

  /** As the backend said last. */
  #becomeStale(stale: Stale<T> | undefined): void {
    this.#stale = stale
    if (stale === undefined) return
    for (const callback of this.#onStale.splice(0)) callback()
  }

  #reportFailure(cause: unknown): void {
    const { context, name } = this.#parts
    const { capability, backend } = context
    context.report(
      new MultinodeError(
        'REJECTED',
        `cache: a value of ${name} could not be made, and the stale one is served: ${reasonOf(cause)}`,
        { capability, backend, cause, details: { namespace: name, key: this.key } },
      ),
    )
  }
}

function staleOf<T>(found: Found<T> | undefined): Stale<T> | undefined {
  return found === undefined ? undefined : { value: found.value, tags: found.entry.tags }
}

export function lateLoad<T>(
  { context, name }: SpaceParts<T>,
  key: string,
  hardTimeoutMs: number,
): MultinodeError {
  const { capability, backend } = context
  return new MultinodeError(
    'TIMEOUT',
    `cache: a value of ${name} was not there within ${hardTimeoutMs} ms (hardTimeoutMs).`,
    { capability, backend, details: { namespace: name, key } },
  )
}

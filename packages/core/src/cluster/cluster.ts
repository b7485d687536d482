import type { Cache, CacheStats } from '../cache/cache.ts'
import { capabilities, type PortableTypes } from '../capabilities.ts'
import type { PortableType } from '../capability.ts'
import { maskSecrets } from '../errors/mask-secrets.ts'
import { MultinodeError } from '../errors/multinode-error.ts'
import type { LockStats } from '../lock/lease-keeper.ts'
import type { Locks } from '../lock/locks.ts'
import type { Member } from '../pubsub/pubsub-driver.ts'
import type { PubSub, PubSubStats } from '../pubsub/pubsub.ts'
import type { Queue } from '../queue/queue.ts'
import type { QueueOptions } from '../queue/queue-options.ts'
import type { Queues } from '../queue/queues.ts'
import type { CapabilityName } from '../registry/capability-name.ts'
import type { NodeIdentity } from '../registry/plugin.ts'
import { checkKnownOptions, checkMs, checkName } from '../runtime/check.ts'
import type { WorkerIdStats, WorkerIds } from '../worker-id/worker-ids.ts'
import type { ClusterSettings } from './cluster-options.ts'
import { type CapabilityHealth, HealthMonitor } from './health-monitor.ts'
import { closeDriver, type OpenedDriver, type Opening } from './open-driver.ts'
import type { ErrorListener, Reporter } from './reporter.ts'
import { handleSignals, type SignalOptions } from './signals.ts'

/** A connected capability as the cluster object holds it. */
export interface ClusterPart extends OpenedDriver {
  readonly notes: readonly string[]
}

export interface CapabilityDescription {
  readonly capability: CapabilityName
  readonly backend: string
  /** The package or path it came from; `core` for memory, `code` for a plugin given in code. */
  readonly from: string
  /** Without secrets; `null` for this process. */
  readonly address: string | null
  /** Why this backend: the variable with its value, or words. */
  readonly because: string
  /** Where the address came from. */
  readonly addressFrom: string | null
  readonly features: Readonly<Record<string, string | number | boolean>>
  readonly notes: readonly string[]
}

export interface ClusterDescription extends NodeIdentity {
  readonly capabilities: readonly CapabilityDescription[]
  readonly warnings: readonly string[]
}

export interface ClusterHealth {
  readonly state: 'running' | 'draining' | 'closed'
  /** The worst of all capabilities. */
  readonly status: CapabilityHealth['status']
  readonly capabilities: Readonly<Partial<Record<CapabilityName, CapabilityHealth>>>
}

export interface DrainReport {
  /** Whether everything had finished by the deadline. */
  readonly finished: boolean
  /** What was left, by capability: keys of held locks, ... */
  readonly left: Readonly<Partial<Record<CapabilityName, readonly string[]>>>
}

/** Counters of each capability since start; `undefined` for one that was not set up. */
export interface ClusterStats {
  readonly pubsub: PubSubStats | undefined
  readonly queue: ReturnType<Queues['stats']> | undefined
  readonly lock: LockStats | undefined
  readonly cache: CacheStats | undefined
  readonly workerid: WorkerIdStats | undefined
}

/** Work that uses other capabilities ends before these do: jobs use all of them, a cache tells by signals what it deleted. */
const endingOrder: readonly CapabilityName[] = ['queue', 'cache', 'pubsub', 'lock', 'workerid']

/** One node of a cluster: the object an app holds. Made by {@link createCluster}. */
export class Cluster implements AsyncDisposable {
  readonly node: NodeIdentity
  readonly #parts: readonly ClusterPart[]
  readonly #portables: Partial<PortableTypes> = {}
  readonly #monitors = new Map<CapabilityName, HealthMonitor>()
  readonly #settings: ClusterSettings
  readonly #reporter: Reporter
  #state: ClusterHealth['state'] = 'running'
  readonly #signalHandlers: (() => void)[] = []
  #draining: Promise<DrainReport> | undefined
  #closing: Promise<void> | undefined

  constructor(parts: readonly ClusterPart[], { settings, node, reporter }: Opening) {
    this.node = node
    this.#parts = parts
    this.#settings = settings
    this.#reporter = reporter
    for (const part of parts) this.#put(part.choice.capability, part)
    for (const monitor of this.#monitors.values()) monitor.start()
  }

  /** Signals to all nodes. */
  get pubsub(): PubSub {
    return this.#get('pubsub')
  }

  /** The nodes that are there, this one included: see {@link PubSub.nodes}. */
  nodes(): readonly Member[] {
    return this.pubsub.nodes()
  }

  /** Jobs, each for one worker of the cluster. */
  get queues(): Queues {
    return this.#get('queue')
  }

  /** The queue of that name: see {@link Queues.open}. */
  queue<T = unknown>(name: string, options: QueueOptions<T> = {}): Queue<T> {
    return this.queues.open<T>(name, options)
  }

  /** Locks by key. */
  get locks(): Locks {
    return this.#get('lock')
  }

  /** Values that are kept for a while, near this process and for all nodes. */
  get cache(): Cache {
    return this.#get('cache')
  }

  /** Numbers of which each is one node's at a time: for generators of ids, and for shards. */
  get workerIds(): WorkerIds {
    return this.#get('workerid')
  }

  /** What serves each capability, at which address, and because of what; without secrets. */
  describe(): ClusterDescription {
    return {
      ...this.node,
      warnings: this.#reporter.warnings,
      capabilities: this.#parts.map((part) => ({
        capability: part.choice.capability,
        backend: part.backend,
        from: part.from,
        address: part.driver.address === null ? null : maskSecrets(part.driver.address),
        because: part.choice.because,
        addressFrom: part.addressFrom,
        features: part.driver.features,
        notes: part.notes,
      })),
    }
  }

  /** A snapshot of probes that run every few seconds; never waits. */
  health(): ClusterHealth {
    const entries = [...this.#monitors].map(([name, monitor]) => [name, monitor.snapshot()] as const)
    const worst = (['down', 'degraded'] as const).find((status) =>
      entries.some(([, health]) => health.status === status),
    )
    return { state: this.#state, status: worst ?? 'ok', capabilities: Object.fromEntries(entries) }
  }

  stats(): ClusterStats {
    const { pubsub, queue, lock, cache, workerid } = this.#portables
    return {
      pubsub: pubsub?.stats(),
      queue: queue?.stats(),
      lock: lock?.stats(),
      cache: cache?.stats(),
      workerid: workerid?.stats(),
    }
  }

  /**
   * Background trouble that no call rejects with. Without a listener it becomes a `process` warning, never a crash.
   */
  on(event: 'error', listener: ErrorListener): this {
    checkName('event', event, /^error$/)
    this.#reporter.on(listener)
    return this
  }

  off(event: 'error', listener: ErrorListener): this {
    checkName('event', event, /^error$/)
    this.#reporter.off(listener)
    return this
  }

  /**
   * Maintenance mode: takes no new work, finishes what runs, for `deadlineMs` in all (default 30 s). What is left then is
   * told. A lock whose routine still runs is not released: its signal is aborted, and it runs out. Repeated calls share
   * the first one's result.
   */
  async drain(options: { readonly deadlineMs?: number } = {}): Promise<DrainReport> {
    checkKnownOptions('drain', options, ['deadlineMs'])
    this.#draining ??= this.#drain(checkMs('deadlineMs', options.deadlineMs ?? 30_000, { min: 0 }))
    return this.#draining
  }

  /**
   * Ends everything and frees all connections that this object opened. Locks that are still held are not released, because
   * their routine may still run: their signal is aborted and they run out. Idempotent; never rejects; later calls
   * reject with `CLOSED`.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /**
   * On SIGTERM and SIGINT: `beforeDrain`, {@link drain}, {@link close}, then the process ends by that signal, unless
   * somebody else listens to it. A second signal ends it at once. {@link close} takes the handlers off.
   * @returns takes the handlers off again
   */
  handleSignals(options: SignalOptions = {}): () => void {
    const remove = handleSignals(this, options, this.#settings.clock, this.#reporter.report)
    this.#signalHandlers.push(remove)
    return remove
  }

  #put<N extends keyof PortableTypes>(name: N, part: ClusterPart): void {
    this.#portables[name] = capabilities[name].portable(part.driver, {
      capability: name,
      backend: part.backend,
      node: this.node,
      clock: this.#settings.clock,
      callTimeoutMs: this.#settings.callTimeoutMs,
      metadata: this.#settings.metadata,
      env: (variable) => this.#settings.variables.read([variable])?.value,
      pubsub: () => this.#portables.pubsub,
      report: this.#reporter.report,
      warn: this.#reporter.warn,
    })
    this.#monitors.set(name, new HealthMonitor(name, part.driver, part.notes, this.#settings.clock))
  }

  #get<N extends keyof PortableTypes>(name: N): PortableTypes[N] {
    const portable: PortableTypes[N] | undefined = this.#portables[name]
    if (portable !== undefined) return portable
    throw new MultinodeError(
      'UNSUPPORTED',
      `${name} was not set up: createCluster was told capabilities ${JSON.stringify(this.#settings.capabilities)}. ` +
        `Add ${JSON.stringify(name)} there.`,
      { capability: name },
    )
  }

  async #drain(deadlineMs: number): Promise<DrainReport> {
    if (this.#state === 'running') this.#state = 'draining'
    const { clock } = this.#settings
    const untilMs = clock.monotonicMs() + deadlineMs
    const left: Partial<Record<CapabilityName, readonly string[]>> = {}
    for (const [name, portable] of this.#inOrder()) {
      const names = await portable.drain(Math.max(0, untilMs - clock.monotonicMs()))
      if (names.length > 0) left[name] = names
    }
    return { finished: Object.keys(left).length === 0, left }
  }

  async #close(): Promise<void> {
    this.#state = 'closed'
    for (const monitor of this.#monitors.values()) monitor.stop()
    for (const [, portable] of this.#inOrder()) await portable.close()
    await Promise.all(this.#parts.map((part) => this.#closeDriver(part)))
    for (const remove of this.#signalHandlers) remove()
  }

  async #closeDriver(part: ClusterPart): Promise<void> {
    try {
      await closeDriver(part, this.#settings)
    } catch (error) {
      this.#reporter.report(error)
    }
  }

  #inOrder(): [CapabilityName, PortableType][] {
    const ordered: [CapabilityName, PortableType][] = []
    for (const name of endingOrder) {
      const portable = this.#portables[name]
      if (portable !== undefined) ordered.push([name, portable])
    }
    return ordered
  }
}

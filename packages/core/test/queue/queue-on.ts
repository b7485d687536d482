import {
  type ConsumeOptions,
  type Consumer,
  type Delivery,
  type JobReceiver,
  type JobRecord,
  type NewJob,
  type QueueDriver,
  type QueueFeatures,
  type QueueLine,
  Queues,
} from '../../src/index.ts'
import type { Queue } from '../../src/queue/queue.ts'
import type { QueueOptions } from '../../src/queue/queue-options.ts'
import type { CapabilityContext } from '../../src/runtime/capability-context.ts'
import { capabilityContext, ManualClock } from '../../src/testing/index.ts'

type Answers = Partial<QueueLine & Pick<QueueDriver, 'open'>>

const features: QueueFeatures = {
  scope: 'cluster',
  persistence: 'all',
  delayStepMs: 1,
  lateAfterCrashMs: 0,
  dedupe: true,
  lookup: true,
  progress: true,
  clusterPause: true,
  exactCounts: true,
  maxBytes: 1_000,
  maxConcurrency: 100,
}

/** A source of jobs that does what the test says, with a note of every call. */
export class HandConsumer implements Consumer {
  readonly calls: string[] = []
  readonly options: ConsumeOptions
  readonly receiver: JobReceiver
  answer: (call: string) => Promise<void> = async () => {}

  constructor(options: ConsumeOptions, receiver: JobReceiver) {
    this.options = options
    this.receiver = receiver
  }

  pause(): Promise<void> {
    return this.#note('pause')
  }

  resume(): Promise<void> {
    return this.#note('resume')
  }

  close(): Promise<void> {
    return this.#note('close')
  }

  #note(call: string): Promise<void> {
    this.calls.push(call)
    return this.answer(call)
  }
}

/**
 * Queues as if on a server, with a clock that stands still: takes whatever is added, with a note of every call, or answers as the test says, and delivers what the test
 * says. Answers may be exchanged at any time.
 */
export class QueueOn {
  readonly clock = new ManualClock()
  readonly answers: Answers
  readonly added: (readonly NewJob[])[] = []
  readonly consumers: HandConsumer[] = []
  readonly reported: unknown[] = []
  readonly context: CapabilityContext
  readonly driver: QueueDriver
  readonly queues: Queues
  opened = 0

  constructor(answers: Answers = {}, changed: Readonly<Record<string, boolean | number>> = {}) {
    this.answers = answers
    this.driver = this.#driver({ ...features, ...changed })
    const report = (error: unknown): void => {
      this.reported.push(error)
    }
    this.context = capabilityContext('queue', 'steered', { clock: this.clock, report })
    this.queues = new Queues(this.driver, this.context)
  }

  queue(options: QueueOptions<unknown> = {}): Queue {
    return this.queues.open('mails', options)
  }

  get consumer(): HandConsumer {
    const last = this.consumers.at(-1)
    if (last === undefined) throw new Error('nobody processes')
    return last
  }

  /** Jobs in the order in which the driver had them. */
  get jobs(): NewJob[] {
    return this.added.flat()
  }

  #driver(declared: QueueFeatures): QueueDriver {
    const { answers } = this
    const line: QueueLine = {
      add: async (jobs, timeoutMs) => {
        this.added.push(jobs)
        return answers.add?.(jobs, timeoutMs) ?? jobs.map(({ record: { id } }) => ({ status: 'added', id }))
      },
      consume: async (options, receiver, timeoutMs) => {
        if (answers.consume !== undefined) return answers.consume(options, receiver, timeoutMs)
        const consumer = new HandConsumer(options, receiver)
        this.consumers.push(consumer)
        return consumer
      },
      counts: async (timeoutMs) =>
        answers.counts?.(timeoutMs) ?? { waiting: 0, active: 0, delayed: 0, dead: 0, oldestWaitingMs: 0 },
      purge: async (timeoutMs) => answers.purge?.(timeoutMs) ?? null,
      listDead: async (limit, timeoutMs) => answers.listDead?.(limit, timeoutMs) ?? [],
      redrive: async (choice, timeoutMs) => answers.redrive?.(choice, timeoutMs) ?? 0,
      purgeDead: async (timeoutMs) => answers.purgeDead?.(timeoutMs) ?? 0,
      pauseAll: async (isPaused, timeoutMs) => answers.pauseAll?.(isPaused, timeoutMs),
      get: async (id, timeoutMs) => answers.get?.(id, timeoutMs),
      remove: async (id, timeoutMs) => answers.remove?.(id, timeoutMs) ?? 'not-found',
    }
    return {
      features: declared,
      address: 'steered://here',
      native: null,
      open: async (definition, timeoutMs) => {
        this.opened += 1
        return answers.open?.(definition, timeoutMs) ?? line
      },
      ping: async () => {},
      close: async () => {},
    }
  }
}

export function record(changed: Partial<JobRecord> = {}): JobRecord {
  return {
    id: 'job-1',
    payload: '{"to":"ann"}',
    headers: {},
    addedAtMs: 0,
    attemptsMax: 3,
    backoff: { type: 'fixed', delayMs: 100, maxDelayMs: 1_000, jitter: 0 },
    timeoutMs: undefined,
    expiresAtMs: undefined,
    ...changed,
  }
}

export function delivery(changed: Partial<JobRecord> = {}, more: Partial<Delivery> = {}): Delivery {
  return { record: record(changed), attempt: 1, redelivered: false, ...more }
}

export function newJob(changed: Partial<JobRecord> = {}, more: Partial<NewJob> = {}): NewJob {
  return { record: record(changed), delayMs: 0, priority: 'normal', dedupe: undefined, ...more }
}

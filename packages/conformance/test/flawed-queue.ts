import { randomUUID } from 'node:crypto'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import {
  type ConsumeOptions,
  type Consumer,
  type Delivery,
  type JobReceiver,
  MultinodeError,
  type NewJob,
  type NodeIdentity,
  type QueueDriver,
  type QueueLine,
  type QueuePlugin,
  type Settlement,
} from '@multinode/core'
import type { QueueFlaw } from '../src/index.ts'
import { bareLine, receiverWith } from './faulty-memory-queue.ts'
import { Slots } from './slots.ts'

/** What a flaw changes of a driver that is otherwise right. */
type Break = (driver: QueueDriver, node: NodeIdentity) => Partial<QueueDriver>

/** A driver whose lines are flawed. */
function lines(change: (line: QueueLine, node: NodeIdentity) => Partial<QueueLine>): Break {
  return (driver, node) => ({
    open: async (definition, timeoutMs) => {
      const line = await driver.open(definition, timeoutMs)
      return { ...line, ...change(line, node) }
    },
  })
}

/** A driver that is given other jobs than the caller said. */
function adding(change: (job: NewJob) => Partial<NewJob>): Break {
  return lines((line) => ({
    add: (jobs, timeoutMs) =>
      line.add(
        jobs.map((job) => ({ ...job, ...change(job) })),
        timeoutMs,
      ),
  }))
}

/** A driver whose consumers are flawed. */
function consuming(
  change: (about: {
    readonly options: ConsumeOptions
    readonly receiver: JobReceiver
    readonly node: NodeIdentity
  }) => {
    readonly options?: Partial<ConsumeOptions>
    readonly run?: JobReceiver['run']
    readonly consumer?: (consumer: Consumer) => Partial<Consumer>
  },
): Break {
  return lines((line, node) => ({
    consume: async (options, receiver, timeoutMs) => {
      const changed = change({ options, receiver, node })
      const run: JobReceiver['run'] = changed.run ?? ((delivery) => receiver.run(delivery))
      const consumer = await line.consume(
        { ...options, ...changed.options },
        receiverWith(receiver, run),
        timeoutMs,
      )
      return {
        pause: () => consumer.pause(),
        resume: () => consumer.resume(),
        close: async () => {
          // What becomes of a job takes longer to arrive through a flaw.
          await nextTurn()
          await consumer.close()
        },
        ...changed.consumer?.(consumer),
      }
    },
  }))
}

/** A driver that hands on something else than what was added. */
function delivering(change: (delivery: Delivery, node: NodeIdentity) => Partial<Delivery>): Break {
  return consuming(({ receiver, node }) => ({
    run: (delivery) => receiver.run({ ...delivery, ...change(delivery, node) }),
  }))
}

function recording(change: (record: Delivery['record']) => Partial<Delivery['record']>): Break {
  return delivering(({ record }) => ({ record: { ...record, ...change(record) } }))
}

/** A driver that carries out something else than what becomes of a job. */
function settling(change: (settlement: Settlement, id: string, node: NodeIdentity) => Settlement): Break {
  return consuming(({ receiver, node }) => ({
    run: async (delivery) => change(await receiver.run(delivery), delivery.record.id, node),
  }))
}

/** What all nodes of a cluster share, by its name. */
function shared<T>(create: () => T): (node: NodeIdentity) => T {
  const all = new Map<string, T>()
  return ({ clusterName }) => {
    const found = all.get(clusterName) ?? create()
    all.set(clusterName, found)
    return found
  }
}

const addedIdsOf = shared(() => new Set<string>())
const endedIdsOf = shared(() => new Set<string>())
const retriedIdsOf = shared(() => new Set<string>())
const deliveriesOf = shared(() => new Map<string, number>())
const consumersOf = shared(() => ({ count: 0 }))
const addedOf = shared(() => ({ count: 0 }))

const again: Settlement = { type: 'retry', delayMs: 0, isAttempt: false }

/** Whether it is the first time. */
function isNew(ids: Set<string>, id: string): boolean {
  const isFirst = !ids.has(id)
  ids.add(id)
  return isFirst
}

/** Adds them for certain, a while later. */
async function addLater(line: QueueLine, jobs: readonly NewJob[]): Promise<void> {
  for (let attempt = 0; attempt < 20; attempt += 1) {
    await sleep(200)
    try {
      await line.add(jobs, 100)
      return
    } catch {
      // The server is still silent.
    }
  }
}

/** One way to break a driver for each case of the suite; the smallest change that the case must notice. */
const breaks: Readonly<Record<QueueFlaw, Break>> = {
  'payload-is-latin': recording(({ payload }) => ({
    payload: Buffer.from(payload, 'latin1').toString('latin1'),
  })),
  'long-payload-is-cut': recording(({ payload }) => ({
    payload: payload.length > 60_000 ? '"cut"' : payload,
  })),
  'headers-are-lost': recording(() => ({ headers: {} })),
  'ids-are-changed': recording(({ id }) => ({ id: `${id}:0` })),
  'names-are-folded': (driver) => ({
    open: (definition, timeoutMs) =>
      driver.open({ ...definition, name: definition.name.replaceAll(/[^a-z]/g, '_') }, timeoutMs),
  }),
  'delay-goes-by-the-end-of-a-name': (driver) => ({
    open: async (definition, timeoutMs) => {
      const line = await driver.open(definition, timeoutMs)
      const name = definition.name.split('.').at(-1) ?? ''
      const other = await driver.open({ ...definition, name }, timeoutMs)
      return {
        ...line,
        add: (jobs, ms) => (jobs.some(({ delayMs }) => delayMs > 0) ? other : line).add(jobs, ms),
      }
    },
  }),
  'batch-loses-its-last': lines((line) => ({
    add: async (jobs, timeoutMs) => {
      await line.add(jobs.length > 1 ? jobs.slice(0, -1) : jobs, timeoutMs)
      return jobs.map(({ record: { id } }) => ({ status: 'added', id }))
    },
  })),
  'replies-are-out-of-order': lines((line) => ({
    add: async (jobs, timeoutMs) => (await line.add(jobs, timeoutMs)).toReversed(),
  })),
  'adds-repeats': lines((line, node) => ({
    add: (jobs, timeoutMs) => {
      const ids = addedIdsOf(node)
      const fresh = jobs.map((job) =>
        isNew(ids, job.record.id) ? job : { ...job, record: { ...job.record, id: randomUUID() } },
      )
      return line.add(fresh, timeoutMs)
    },
  })),
  'unreadable-is-dropped': settling((settlement) =>
    settlement.type === 'dead' && settlement.failure.reason === 'invalid' ? { type: 'done' } : settlement,
  ),
  'swaps-neighbours': lines((line) => ({
    add: async (jobs, timeoutMs) => (await line.add(jobs.toReversed(), timeoutMs)).toReversed(),
  })),
  'delivers-twice': consuming(({ receiver }) => ({
    run: async (delivery) => {
      await receiver.run(delivery)
      return receiver.run(delivery)
    },
  })),
  'one-worker-takes-all': lines((line, node) => ({
    consume: async (options, receiver, timeoutMs) => {
      const consumers = consumersOf(node)
      consumers.count += 1
      if (consumers.count === 1) return line.consume(options, receiver, timeoutMs)
      return { pause: async () => {}, resume: async () => {}, close: async () => {} }
    },
  })),
  'one-more-than-allowed': consuming(({ options }) => ({
    options: { concurrency: options.concurrency + 1 },
  })),
  'concurrency-is-one': consuming(() => ({ options: { concurrency: 1 } })),
  'attempt-stays-one': delivering(() => ({ attempt: 1 })),
  'attempt-counts-deliveries': delivering(({ record: { id } }, node) => {
    const deliveries = deliveriesOf(node)
    const attempt = (deliveries.get(id) ?? 0) + 1
    deliveries.set(id, attempt)
    return { attempt }
  }),
  'redelivered-is-unknown': delivering(() => ({ redelivered: false })),
  'retry-is-at-once': settling((settlement) =>
    settlement.type === 'retry' ? { ...settlement, delayMs: 0 } : settlement,
  ),
  'retries-only-once': settling((settlement, id, node) =>
    settlement.type === 'retry' && !isNew(retriedIdsOf(node), id) ? { type: 'done' } : settlement,
  ),
  'done-is-done-again': settling((settlement, id, node) =>
    settlement.type === 'done' && isNew(endedIdsOf(node), id) ? again : settlement,
  ),
  'dead-is-dropped': settling((settlement) => (settlement.type === 'dead' ? { type: 'done' } : settlement)),
  'dead-forgets-its-failure': settling((settlement) =>
    settlement.type === 'dead'
      ? { type: 'dead', failure: { ...settlement.failure, reason: 'failed', message: '', stack: '' } }
      : settlement,
  ),
  'timeout-is-forgotten': adding(({ record }) => ({ record: { ...record, timeoutMs: undefined } })),
  'expiry-is-forgotten': adding(({ record }) => ({ record: { ...record, expiresAtMs: undefined } })),
  'delay-is-early': adding(({ delayMs }) => ({ delayMs: delayMs / 2 })),
  'priority-is-forgotten': adding(() => ({ priority: 'normal' })),
  'knows-no-duplicates': adding(() => ({ dedupe: undefined })),
  'duplicates-for-ever': adding(({ dedupe }) => ({
    dedupe: dedupe === undefined ? undefined : { ...dedupe, ttlMs: 3_600_000 },
  })),
  'unknown-is-zero': lines(() => ({
    counts: async () => ({ waiting: 0, active: 0, delayed: 0, dead: 0, oldestWaitingMs: 0 }),
  })),
  'age-is-zero': lines((line) => ({
    counts: async (timeoutMs) => ({ ...(await line.counts(timeoutMs)), oldestWaitingMs: 0 }),
  })),
  'does-not-resume': consuming(() => ({ consumer: () => ({ resume: async () => {} }) })),
  'forgets-what-ends-after-a-pause': consuming(({ receiver }) => {
    let isPaused = false
    return {
      run: async (delivery) => {
        const settlement = await receiver.run(delivery)
        return isPaused && settlement.type === 'done' ? again : settlement
      },
      consumer: (consumer) => ({
        pause: async () => {
          isPaused = true
          await consumer.pause()
        },
      }),
    }
  }),
  hoards: consuming(({ options, receiver }) => {
    // Those that wait are held, also while the consumer is paused.
    const slots = new Slots(options.concurrency)
    return {
      options: { concurrency: options.prefetch },
      run: (delivery) => slots.run(() => receiver.run(delivery)),
    }
  }),
  'cluster-pause-is-ignored': lines(() => ({ pauseAll: async () => {} })),
  'purge-does-nothing': lines(() => ({ purge: async () => null })),
  'always-waiting': lines((line) => ({
    get: async (id, timeoutMs) => {
      const found = await line.get?.(id, timeoutMs)
      return found === undefined ? undefined : { ...found, state: 'waiting' }
    },
  })),
  'removes-nothing': lines(() => ({ remove: async () => 'removed' })),
  'running-is-not-found': lines(() => ({ remove: async () => 'not-found' })),
  'progress-is-lost': delivering(() => ({ progress: async () => {} })),
  'claims-what-it-lacks': (driver) => ({
    features: {
      ...driver.features,
      dedupe: true,
      lookup: true,
      progress: true,
      clusterPause: true,
      exactCounts: true,
    },
    open: async (definition, timeoutMs) => {
      const line = await driver.open(definition, timeoutMs)
      const consume: QueueLine['consume'] = (options, receiver, ms) => {
        const run: JobReceiver['run'] = (delivery) => receiver.run({ ...delivery, progress: async () => {} })
        return line.consume(options, receiverWith(receiver, run), ms)
      }
      return { ...bareLine(line), consume }
    },
  }),
  'dead-limit-is-ignored': lines((line) => ({
    listDead: (_, timeoutMs) => line.listDead(10_000, timeoutMs),
  })),
  'redrives-all': lines((line) => ({
    redrive: ({ limit }, timeoutMs) => line.redrive({ limit }, timeoutMs),
  })),
  'redrives-none': lines(() => ({ redrive: async () => 0 })),
  'dead-is-kept': lines((line) => ({
    purgeDead: async (timeoutMs) => (await line.listDead(10_000, timeoutMs)).length,
  })),
  'shutdown-ends-jobs': settling((settlement) =>
    settlement.type === 'retry' && !settlement.isAttempt ? { type: 'done' } : settlement,
  ),
  'keeps-jobs-of-closed-workers': consuming(({ receiver }) => {
    let isClosed = false
    return {
      run: async (delivery) => {
        const settlement = await receiver.run(delivery)
        return isClosed ? new Promise(() => {}) : settlement
      },
      consumer: (consumer) => ({
        close: async () => {
          isClosed = true
          await consumer.pause()
        },
      }),
    }
  }),
  'crashes-do-not-count': consuming(() => ({ options: { maxCrashes: 1_000_000 } })),
  'close-twice-rejects': (driver) => {
    let isClosed = false
    return {
      close: async () => {
        if (isClosed) throw new Error('closed already')
        isClosed = true
        await driver.close()
      },
    }
  },
  'claims-what-failed': lines((line) => ({
    add: async (jobs, timeoutMs) => {
      try {
        return await line.add(jobs, timeoutMs)
      } catch {
        return jobs.map(({ record: { id } }) => ({ status: 'added', id }))
      }
    },
  })),
  'not-sent-was-sent': lines((line) => ({
    add: async (jobs, timeoutMs) => {
      try {
        return await line.add(jobs, timeoutMs)
      } catch {
        void addLater(line, jobs)
        throw new MultinodeError('TIMEOUT', 'silent', { outcome: 'not-sent' })
      }
    },
  })),
  'ping-always-succeeds': () => ({ ping: async () => {} }),
  'loses-every-seventh': lines((line, node) => ({
    add: async (jobs, timeoutMs) => {
      const added = addedOf(node)
      const kept = jobs.filter(() => (added.count += 1) % 7 !== 0)
      await line.add(kept, timeoutMs)
      return jobs.map(({ record: { id } }) => ({ status: 'added', id }))
    },
  })),
}

/** The same plugin, with one flaw. */
export function withFlaw(plugin: QueuePlugin, flaw: QueueFlaw): QueuePlugin {
  return {
    ...plugin,
    async create(context) {
      const driver = await plugin.create(context)
      return { ...driver, ...breaks[flaw](driver, context.node) }
    },
  }
}

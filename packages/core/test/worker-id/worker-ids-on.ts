import { randomBytes } from 'node:crypto'
import {
  MultinodeError,
  pluginApi,
  type WindowReply,
  type WorkerIdDriver,
  type WorkerIdPlugin,
  type WorkerIdRequest,
  WorkerIds,
} from '../../src/index.ts'
import { capabilityContext, ManualClock } from '../../src/testing/index.ts'
import { MemoryWorkerIdTable } from '../../src/worker-id/memory-worker-id-table.ts'

type Verb = 'acquire' | 'renew' | 'release' | 'holders'
type Answers = Partial<Pick<WorkerIdDriver, Verb>>

interface Call {
  readonly verb: Verb
  readonly atMs: number
  readonly timeoutMs: number
  readonly request: unknown
}

/**
 * Worker ids as if on a server, with a clock that stands still: real leases on memory, with a note of every call, and with the answers of the test
 * where it has some. Answers may be exchanged at any time.
 */
export class WorkerIdsOn {
  readonly clock = new ManualClock()
  readonly table: MemoryWorkerIdTable = new MemoryWorkerIdTable(this.clock)
  readonly answers: Answers
  readonly calls: Call[] = []
  readonly reported: unknown[] = []
  readonly env: Record<string, string> = {}
  readonly driver: WorkerIdDriver
  readonly workerIds: WorkerIds

  constructor(answers: Answers = {}, callTimeoutMs = 5_000) {
    this.answers = answers
    this.driver = this.#driver()
    this.workerIds = this.node(callTimeoutMs)
  }

  /** Another node on the same server. */
  node(callTimeoutMs = 5_000): WorkerIds {
    const report = (error: unknown): void => {
      this.reported.push(error)
    }
    const context = capabilityContext('workerid', 'steered', { clock: this.clock, callTimeoutMs, report })
    return new WorkerIds(this.driver, { ...context, env: (name) => this.env[name] })
  }

  plugin(): WorkerIdPlugin {
    return {
      kind: 'multinode-plugin',
      api: pluginApi,
      capability: 'workerid',
      backend: 'steered',
      options: {},
      create: async () => this.driver,
    }
  }

  /** What a verb was asked for, each time. */
  requests(verb: Verb): unknown[] {
    return this.calls.filter((call) => call.verb === verb).map(({ request }) => request)
  }

  /** When a verb was called, in ms of the clock. */
  times(verb: Verb): number[] {
    return this.calls.filter((call) => call.verb === verb).map(({ atMs }) => atMs)
  }

  /** Somebody else takes an id, until `vacate` is called. */
  occupy(id: number, leaseMs = 3_600_000): () => void {
    const token = randomBytes(16).toString('hex')
    this.table.acquire({
      token,
      ownerKey: 'somebody',
      range: id + 1,
      prefer: id,
      isFirstStart: true,
      terms: { leaseMs, quarantineMs: 1_000, maxSkewMs: 5_000, maxAheadMs: 5_000 },
      nowMs: this.clock.wallMs(),
    })
    return () => void this.table.release({ id, token, usedMs: 0 })
  }

  #driver(): WorkerIdDriver {
    const { answers, table } = this
    const note = (verb: Verb, timeoutMs: number, request?: unknown): void => {
      this.calls.push({ verb, atMs: this.clock.monotonicMs(), timeoutMs, request })
    }
    return {
      features: { scope: 'cluster' },
      address: 'steered://here',
      native: null,
      acquire: async (request, timeoutMs) => {
        note('acquire', timeoutMs, request)
        return answers.acquire?.(request, timeoutMs) ?? table.acquire(request)
      },
      renew: async (request, timeoutMs) => {
        note('renew', timeoutMs, request)
        return answers.renew?.(request, timeoutMs) ?? table.renew(request)
      },
      release: async (request, timeoutMs) => {
        note('release', timeoutMs, request)
        return answers.release?.(request, timeoutMs) ?? table.release(request)
      },
      holders: async (timeoutMs) => {
        note('holders', timeoutMs)
        return answers.holders?.(timeoutMs) ?? table.holders()
      },
      ping: async () => {},
      close: async () => {},
    }
  }
}

/** A backend that cannot be reached. */
export async function away(): Promise<never> {
  throw new MultinodeError('UNAVAILABLE', 'the backend is away')
}

/** A grant that the test makes up. */
export function grantOf(
  { nowMs, terms }: Pick<WorkerIdRequest, 'nowMs' | 'terms'>,
  id = 0,
): { status: 'granted'; id: number } & WindowReply {
  const untilMs = nowMs + terms.leaseMs
  return { status: 'granted', id, floorMs: 1, ceilingMs: untilMs, untilMs, backendMs: nowMs }
}

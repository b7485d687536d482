import type {
  RenewReply,
  WorkerHolder,
  WorkerIdDriver,
  WorkerIdPlugin,
  WorkerIdRequest,
} from '@multinode/core'
import type { WorkerIdFlaw } from '../src/index.ts'

type Driver = WorkerIdDriver

/** What a flaw changes of a driver that is otherwise right. */
type Break = (driver: Driver) => Partial<Driver>

const pretend = <T>(value: T): (() => Promise<T>) => {
  return async () => value
}

/** A driver that is asked for something else than the caller said. */
function askedFor(change: (request: WorkerIdRequest) => Partial<WorkerIdRequest>): Break {
  return (driver) => ({
    acquire: (request, timeoutMs) => driver.acquire({ ...request, ...change(request) }, timeoutMs),
  })
}

/** A driver that grants something else than it noted. */
function granting(change: (granted: Granted, request: WorkerIdRequest) => Partial<Granted>): Break {
  return (driver) => ({
    acquire: async (request, timeoutMs) => {
      const reply = await driver.acquire(request, timeoutMs)
      return reply.status === 'granted' ? { ...reply, ...change(reply, request) } : reply
    },
  })
}

type Granted = Awaited<ReturnType<Driver['acquire']>> & { readonly status: 'granted' }
type Renewed = RenewReply & { readonly status: 'renewed' }

function renewing(
  change: (renewed: Renewed, request: Parameters<Driver['renew']>[0]) => Partial<Renewed>,
): Break {
  return (driver) => ({
    renew: async (request, timeoutMs) => {
      const reply = await driver.renew(request, timeoutMs)
      return reply.status === 'renewed' ? { ...reply, ...change(reply, request) } : reply
    },
  })
}

const holderOf = async (driver: Driver, id: number, timeoutMs: number): Promise<WorkerHolder | undefined> =>
  (await driver.holders(timeoutMs)).find((holder) => holder.id === id)

/** One way to break a driver for each case of the suite; the smallest change that the case must notice. */
const breaks: Readonly<Record<WorkerIdFlaw, Break>> = {
  'same-id-for-all': granting(() => ({ id: 0 })),
  'ignores-range': askedFor(({ range }) => ({ range: range + 1 })),
  'retry-after-is-wrong': (driver) => ({
    acquire: async (request, timeoutMs) => {
      const reply = await driver.acquire(request, timeoutMs)
      return reply.status === 'exhausted' ? { ...reply, retryAfterMs: 1 } : reply
    },
  }),
  'repeat-is-new': (driver) => {
    let requests = 0
    return askedFor(({ token }) => ({ token: `${token}${(requests += 1)}` }))(driver)
  },
  'owner-keys-collide': askedFor(({ ownerKey }) => ({ ownerKey: ownerKey.slice(0, 1) })),
  // In `withFlaw`: it is not about a driver alone.
  'clusters-meet': () => ({}),
  'accepts-any-clock': askedFor(({ terms }) => ({ terms: { ...terms, maxSkewMs: 86_400_000 } })),
  'forgets-owners': askedFor(({ token }) => ({ ownerKey: token })),
  'owner-takes-over': (driver) => {
    const grants = new Map<string, Granted & { readonly token: string }>()
    return {
      acquire: async (request, timeoutMs) => {
        const { ownerKey, token } = request
        const before = grants.get(ownerKey)
        if (before !== undefined) await driver.release({ ...before, usedMs: before.ceilingMs }, timeoutMs)
        const reply = await driver.acquire(request, timeoutMs)
        if (reply.status === 'granted') grants.set(ownerKey, { ...reply, token })
        return reply
      },
    }
  },
  'hint-is-ignored': askedFor(() => ({ prefer: undefined })),
  'hint-is-believed': granting(({ id }, { prefer }) => ({ id: prefer ?? id })),
  'reuses-the-last': (driver) => {
    let last: number | undefined
    return {
      ...askedFor(() => ({ prefer: last }))(driver),
      release: (request, timeoutMs) => {
        last = request.id
        return driver.release(request, timeoutMs)
      },
    }
  },
  'release-does-nothing': () => ({ release: pretend('released') }),
  'floor-ignores-used': (driver) => ({
    release: (request, timeoutMs) => driver.release({ ...request, usedMs: 0 }, timeoutMs),
  }),
  'floors-overlap': granting(({ floorMs, backendMs }) => ({ floorMs: Math.min(floorMs, backendMs - 1) })),
  'serves-any-floor': askedFor(({ terms }) => ({ terms: { ...terms, maxAheadMs: 60_000 } })),
  'ceiling-is-unbounded': (driver) => ({
    ...granting((_, { nowMs, terms }) => ({ ceilingMs: nowMs + terms.leaseMs }))(driver),
    ...renewing((_, { usedMs, terms }) => ({ ceilingMs: usedMs + terms.leaseMs }))(driver),
  }),
  'ceiling-sinks': renewing((_, { nowMs, terms }) => ({ ceilingMs: nowMs + terms.leaseMs })),
  'no-quarantine': askedFor(({ terms }) => ({ terms: { ...terms, quarantineMs: 0 } })),
  'renew-does-nothing': () => ({
    renew: async ({ window, terms }) => {
      const backendMs = Date.now()
      return { status: 'renewed', ...window, backendMs, untilMs: backendMs + terms.leaseMs }
    },
  }),
  'expiry-is-final': (driver) => ({
    renew: async (request, timeoutMs) =>
      Date.now() > request.window.untilMs ? { status: 'lost' } : driver.renew(request, timeoutMs),
  }),
  'ignores-tokens': (driver) => {
    let holder = ''
    return {
      acquire: async (request, timeoutMs) => {
        holder = request.token
        return driver.acquire(request, timeoutMs)
      },
      renew: (request, timeoutMs) => driver.renew({ ...request, token: holder }, timeoutMs),
      release: (request, timeoutMs) => driver.release({ ...request, token: holder }, timeoutMs),
    }
  },
  'never-says-lost': (driver) => ({
    renew: async (request, timeoutMs) => {
      const reply = await driver.renew(request, timeoutMs)
      return reply.status === 'lost' ? { status: 'renewed', ...request.window } : reply
    },
  }),
  'holders-says-held': (driver) => {
    const seen = new Map<number, WorkerHolder>()
    return {
      holders: async (timeoutMs) => {
        for (const holder of await driver.holders(timeoutMs))
          seen.set(holder.id, { ...holder, state: 'held' })
        return [...seen.values()]
      },
    }
  },
  'holders-never-forgets': (driver) => {
    const grants = new Map<number, WorkerHolder>()
    return {
      acquire: async (request, timeoutMs) => {
        const reply = await driver.acquire(request, timeoutMs)
        if (reply.status === 'granted') {
          const { id, backendMs: sinceMs, untilMs } = reply
          grants.set(id, { id, ownerKey: request.ownerKey, state: 'held', sinceMs, untilMs })
        }
        return reply
      },
      holders: async () => [...grants.values()],
    }
  },
  'first-start-is-ignored': askedFor(() => ({ isFirstStart: false })),
  'trusts-an-empty-backend': askedFor(() => ({ isFirstStart: true })),
  'loss-is-final': (driver) => ({
    renew: async (request, timeoutMs) => {
      const holder = await holderOf(driver, request.id, timeoutMs)
      return holder === undefined ? { status: 'lost' } : driver.renew(request, timeoutMs)
    },
  }),
  'claims-never-end': (driver) => ({
    renew: (request, timeoutMs) => {
      const window = { ...request.window, untilMs: Number.MAX_SAFE_INTEGER }
      return driver.renew({ ...request, window }, timeoutMs)
    },
  }),
  'deadline-is-ignored': (driver) => ({
    acquire: (request) => driver.acquire(request, 60_000),
  }),
  'ping-always-succeeds': () => ({ ping: pretend(undefined) }),
  'close-twice-rejects': (driver) => {
    let closed = false
    return {
      close: async () => {
        if (closed) throw new Error('closed already')
        closed = true
        await driver.close()
      },
    }
  },
}

/** The same plugin, with one flaw. */
export function withFlaw(plugin: WorkerIdPlugin, flaw: WorkerIdFlaw): WorkerIdPlugin {
  return {
    ...plugin,
    async create(context) {
      const clusterName = flaw === 'clusters-meet' ? 'met' : context.node.clusterName
      const driver = await plugin.create({ ...context, node: { ...context.node, clusterName } })
      return { ...driver, ...breaks[flaw](driver) }
    },
  }
}

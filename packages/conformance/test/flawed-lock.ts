import type {
  AcquireReply,
  AcquireRequest,
  JobDriver,
  LockDriver,
  LockPlugin,
  SharedAcquireRequest,
  SharedLockDriver,
} from '@multinode/core'
import type { LockFlaw } from '../src/index.ts'

/** What a flaw changes of a driver that is otherwise right. */
type Break = (driver: LockDriver) => Partial<LockDriver>

const pretend = <T>(value: T): (() => Promise<T>) => {
  return async () => value
}

/** A flaw of the shared locks alone. */
function inShared(change: (shared: SharedLockDriver) => Partial<SharedLockDriver>): Break {
  return ({ shared }) => (shared === undefined ? {} : { shared: { ...shared, ...change(shared) } })
}

/** A flaw of the jobs alone. */
function inJobs(change: (jobs: JobDriver) => Partial<JobDriver>): Break {
  return ({ jobs }) => (jobs === undefined ? {} : { jobs: { ...jobs, ...change(jobs) } })
}

/** A shared lock that is asked for something else than the caller said. */
function askedFor(change: (request: SharedAcquireRequest) => Partial<SharedAcquireRequest>): Break {
  return inShared((shared) => ({
    acquire: (request, timeoutMs) => shared.acquire({ ...request, ...change(request) }, timeoutMs),
  }))
}

/** One way to break a driver for each case of the suite; the smallest change that the case must notice. */
const breaks: Readonly<Record<LockFlaw, Break>> = {
  'grants-while-held': (driver) => ({
    acquire: async (request, timeoutMs) => {
      const reply = await driver.acquire({ ...request, waitMs: 0 }, timeoutMs)
      return reply.status === 'busy' ? { status: 'granted', token: 1 } : reply
    },
  }),
  'keys-collide': (driver) => ({
    acquire: (request, timeoutMs) =>
      driver.acquire({ ...request, key: request.key.replaceAll(/[^a-z]/g, '') }, timeoutMs),
  }),
  'token-repeats': (driver) => ({
    acquire: (request, timeoutMs) => withToken(driver, request, timeoutMs, () => 1),
  }),
  'token-counts-from-one': (driver) => {
    const counts = new Map<string, number>()
    let state = driver.native
    return {
      acquire: (request, timeoutMs) =>
        withToken(driver, request, timeoutMs, () => {
          if (driver.native !== state) counts.clear()
          state = driver.native
          const token = (counts.get(request.key) ?? 0) + 1
          counts.set(request.key, token)
          return token
        }),
    }
  },
  'repeat-is-refused': (driver) => {
    const seen = new Set<string>()
    return {
      acquire: async (request, timeoutMs) => {
        if (seen.has(request.owner)) return { status: 'busy', retryAfterMs: 10 }
        seen.add(request.owner)
        return driver.acquire(request, timeoutMs)
      },
    }
  },
  'ttl-is-ignored': (driver) => ({
    acquire: (request, timeoutMs) => driver.acquire({ ...request, ttlMs: 60_000 }, timeoutMs),
  }),
  'extend-does-nothing': () => ({ extend: pretend('extended') }),
  'extend-creates': (driver) => ({
    extend: async (key, owner, ttlMs, timeoutMs) => {
      await driver.acquire({ key, owner, ttlMs, waitMs: 0 }, timeoutMs)
      return driver.extend(key, owner, ttlMs, timeoutMs)
    },
  }),
  'release-ignores-owner': (driver) => {
    const holders = new Map<string, string>()
    return {
      acquire: async (request, timeoutMs) => {
        const reply = await driver.acquire(request, timeoutMs)
        if (reply.status === 'granted') holders.set(request.key, request.owner)
        return reply
      },
      release: (key, owner, timeoutMs) => driver.release(key, holders.get(key) ?? owner, timeoutMs),
    }
  },
  'release-does-nothing': () => ({ release: pretend('released') }),
  'cancel-does-nothing': () => ({ cancel: pretend(undefined) }),
  'cancel-leaves-no-tombstone': (driver) => ({
    cancel: async (key, owner, timeoutMs) => {
      await driver.release(key, owner, timeoutMs)
    },
  }),
  'no-queue': (driver) => ({
    acquire: (request, timeoutMs) => driver.acquire({ ...request, waitMs: 0 }, timeoutMs),
  }),
  'no-wake': () => ({ onWake: () => () => {} }),
  'reservations-never-lapse': (driver) => {
    const waiting: string[] = []
    return {
      acquire: async (request, timeoutMs) => {
        if (waiting.indexOf(request.owner) > 0) return { status: 'busy', retryAfterMs: 10 }
        const reply = await driver.acquire(request, timeoutMs)
        noteWaiter(waiting, request, reply)
        return reply
      },
    }
  },
  'waiters-never-leave': (driver) => ({
    acquire: (request, timeoutMs) =>
      driver.acquire({ ...request, waitMs: request.waitMs > 0 ? 60_000 : 0 }, timeoutMs),
  }),
  'passed-over-is-refused': (driver) => {
    const waiting: string[] = []
    const refused = new Set<string>()
    return {
      acquire: async (request, timeoutMs) => {
        if (refused.has(request.owner)) return { status: 'busy', retryAfterMs: 10 }
        const reply = await driver.acquire(request, timeoutMs)
        for (const passed of noteWaiter(waiting, request, reply)) refused.add(passed)
        return reply
      },
    }
  },
  'shared-ignores-permits': askedFor(() => ({ permits: 1_000_000 })),
  'shared-keys-meet-plain-ones': (driver) => {
    const meet = inShared(() => ({ acquire: (request, timeoutMs) => driver.acquire(request, timeoutMs) }))
    return meet(driver)
  },
  'shared-repeat-is-new': (driver) => {
    let requests = 0
    return askedFor(({ owner }) => ({ owner: `${owner}-${(requests += 1)}` }))(driver)
  },
  'shared-token-repeats': inShared((shared) => ({
    acquire: async (request, timeoutMs) => withTokenOf(await shared.acquire(request, timeoutMs), () => 1),
  })),
  'shared-ttl-is-ignored': askedFor(() => ({ ttlMs: 60_000 })),
  'shared-readers-exclude': askedFor(({ mode }) => ({ mode: mode === 'read' ? 'write' : mode })),
  'shared-readers-differ': inShared((shared) => {
    let readers = 0
    return {
      acquire: async (request, timeoutMs) =>
        withTokenOf(await shared.acquire(request, timeoutMs), (token) => token + (readers += 1)),
    }
  }),
  'shared-writers-read': askedFor(({ mode }) => ({ mode: mode === 'write' ? 'read' : mode })),
  'shared-no-queue': askedFor(() => ({ waitMs: 0 })),
  'shared-extend-does-nothing': inShared(() => ({ extend: pretend('extended') })),
  'shared-extend-creates': inShared((shared) => ({
    extend: async (key, owner, ttlMs, timeoutMs) => {
      await shared.acquire({ key, owner, ttlMs, waitMs: 0, mode: 'permit', permits: 100 }, timeoutMs)
      return shared.extend(key, owner, ttlMs, timeoutMs)
    },
  })),
  'shared-release-does-nothing': inShared(() => ({ release: pretend('released') })),
  'shared-release-ignores-owner': inShared((shared) => {
    const holders = new Map<string, string>()
    return {
      acquire: async (request, timeoutMs) => {
        const reply = await shared.acquire(request, timeoutMs)
        if (reply.status === 'granted') holders.set(request.key, request.owner)
        return reply
      },
      release: (key, owner, timeoutMs) => shared.release(key, holders.get(key) ?? owner, timeoutMs),
    }
  }),
  'shared-cancel-does-nothing': inShared(() => ({ cancel: pretend(undefined) })),
  'shared-cancel-leaves-no-tombstone': inShared((shared) => ({
    cancel: async (key, owner, timeoutMs) => {
      await shared.release(key, owner, timeoutMs)
    },
  })),
  'job-runs-for-everyone': inJobs((jobs) => ({
    claim: (request, timeoutMs) =>
      jobs.claim({ ...request, job: `${request.job}:${request.owner}` }, timeoutMs),
  })),
  'job-forgets-its-last-fire': inJobs((jobs) => {
    let runs = 0
    return {
      claim: (request, timeoutMs) => jobs.claim({ ...request, job: `${request.job}:${runs}` }, timeoutMs),
      done: async (job, owner, timeoutMs) => {
        const reply = await jobs.done(`${job}:${runs}`, owner, timeoutMs)
        runs += 1
        return reply
      },
    }
  }),
  'job-fires-apart': inJobs((jobs) => ({
    claim: (request, timeoutMs) =>
      jobs.claim({ ...request, job: `${request.job}:${request.scheduledAtMs}` }, timeoutMs),
  })),
  'job-run-has-no-end': inJobs((jobs) => ({
    claim: (request, timeoutMs) => jobs.claim({ ...request, atMostMs: 600_000 }, timeoutMs),
  })),
  'job-accepts-every-fire': inJobs((jobs) => ({
    claim: (request, timeoutMs) =>
      jobs.claim({ ...request, maxSkewMs: Number.MAX_SAFE_INTEGER / 2 }, timeoutMs),
  })),
  'job-repeat-is-refused': inJobs((jobs) => {
    const seen = new Set<string>()
    return {
      claim: async (request, timeoutMs) => {
        if (seen.has(request.owner)) return { status: 'duplicate' }
        seen.add(request.owner)
        return jobs.claim(request, timeoutMs)
      },
    }
  }),
  'job-token-repeats': inJobs((jobs) => ({
    claim: async (request, timeoutMs) => {
      const reply = await jobs.claim(request, timeoutMs)
      return reply.status === 'run' ? { ...reply, token: 1 } : reply
    },
  })),
  'job-extend-does-nothing': inJobs(() => ({ extend: pretend('extended') })),
  'job-ignores-owner': inJobs((jobs) => {
    let runner = ''
    return {
      claim: async (request, timeoutMs) => {
        runner = request.owner
        return jobs.claim(request, timeoutMs)
      },
      extend: (job, _, ttlMs, timeoutMs) => jobs.extend(job, runner, ttlMs, timeoutMs),
      done: (job, _, timeoutMs) => jobs.done(job, runner, timeoutMs),
    }
  }),
  'job-done-does-nothing': inJobs(() => ({ done: pretend('released') })),
  'job-copy-begins-again': inJobs((jobs) => {
    const runs = new Map<string, number>()
    return {
      claim: async (request, timeoutMs) => {
        const token = runs.get(request.owner)
        if (token !== undefined) return { status: 'run', token }
        const reply = await jobs.claim(request, timeoutMs)
        if (reply.status === 'run') runs.set(request.owner, reply.token)
        return reply
      },
    }
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
export function withFlaw(plugin: LockPlugin, flaw: LockFlaw): LockPlugin {
  return {
    ...plugin,
    async create(context) {
      const driver = await plugin.create(context)
      const flawed: LockDriver = Object.create(driver)
      return Object.assign(flawed, breaks[flaw](driver))
    },
  }
}

async function withToken(
  driver: LockDriver,
  request: AcquireRequest,
  timeoutMs: number,
  token: () => number,
): ReturnType<LockDriver['acquire']> {
  const reply = await driver.acquire(request, timeoutMs)
  return reply.status === 'granted' ? { ...reply, token: token() } : reply
}

function withTokenOf(reply: AcquireReply, change: (token: number) => number): AcquireReply {
  return reply.status === 'granted' ? { ...reply, token: change(reply.token) } : reply
}

/** Keeps a list of who waits, in the order in which they asked. Returns those whom a grant passed over. */
function noteWaiter(waiting: string[], { owner, waitMs }: AcquireRequest, reply: AcquireReply): string[] {
  const place = waiting.indexOf(owner)
  if (reply.status === 'busy' && waitMs > 0 && place === -1) waiting.push(owner)
  if (reply.status !== 'granted' || place === -1) return []
  return waiting.splice(0, place + 1).slice(0, -1)
}

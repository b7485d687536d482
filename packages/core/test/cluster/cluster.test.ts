import { afterEach, describe, expect, test } from 'vitest'
import { type Cluster, type ClusterOptions, createCluster, MultinodeError } from '../../src/index.ts'
import { ManualClock } from '../../src/testing/index.ts'
import { failureOf, Later, never, turn, watch } from '../support/outcome.ts'
import { SteeredLock } from '../support/steered-lock.ts'
import { Warnings } from '../support/warnings.ts'

/** One node on a shared lock that the test steers, with a clock that stands still. */
async function onSteeredLock(
  options: ClusterOptions = {},
): Promise<{ clock: ManualClock; lock: SteeredLock; cluster: Cluster; errors: MultinodeError[] }> {
  const clock = new ManualClock()
  const lock = new SteeredLock(clock)
  const errors: MultinodeError[] = []
  const cluster = await createCluster({ env: {}, name: 'shop', clock, plugins: [lock.plugin()], ...options })
  cluster.on('error', (error) => errors.push(error))
  return { clock, lock, cluster, errors }
}

// Warnings of the process come a turn later: not in the next test.
afterEach(turn)

describe('Cluster.drain', () => {
  test('resolves at once when nothing runs', async () => {
    const { clock, cluster } = await onSteeredLock()
    expect(await cluster.drain()).toEqual({ finished: true, left: {} })
    expect(cluster.health().state).toBe('draining')
    await cluster.close()
    expect(clock.pendingTimers).toBe(0)
  })

  test('waits for what runs, and lets it take the locks that it needs to finish', async () => {
    const { clock, cluster } = await onSteeredLock()
    const work = new Later<void>()
    const running = cluster.locks.run('one', async () => {
      await work.promise
      return cluster.locks.run('two', () => 'done')
    })
    await clock.advance(0)
    const draining = watch(cluster.drain({ deadlineMs: 10_000 }))
    await clock.advance(9_000)
    expect(draining.state).toBe('pending')
    work.resolve()
    expect(await running).toBe('done')
    await clock.advance(0)
    expect(draining.value).toEqual({ finished: true, left: {} })
    await cluster.close()
    expect(clock.pendingTimers).toBe(0)
  })

  test('ends at its deadline and tells what is left: locks that are held, and those still waited for', async () => {
    const { clock, lock, cluster } = await onSteeredLock()
    const lease = await cluster.locks.acquire('held', { ttlMs: 60_000 })
    lock.store.acquire({ key: 'wanted', owner: 'somebody', ttlMs: 60_000, waitMs: 0 })
    const waiting = watch(cluster.locks.acquire('wanted', { waitMs: 60_000 }))
    const draining = watch(cluster.drain({ deadlineMs: 5_000 }))
    await clock.advance(4_999)
    expect(draining.state).toBe('pending')
    await clock.advance(1)
    expect(draining.value).toEqual({ finished: false, left: { lock: ['held', 'wanted'] } })
    // Not released, because its routine may still run: told to stop, and left to run out.
    expect(lease.signal.reason).toMatchObject({ code: 'LOST' })
    expect(lock.verbs()).not.toContain('release')
    await cluster.close()
    await clock.advance(0)
    expect(waiting.value).toMatchObject({ code: 'CLOSED' })
  })

  test('is one drain, however often it is asked for', async () => {
    const { clock, cluster } = await onSteeredLock()
    await cluster.locks.acquire('held')
    const both = [watch(cluster.drain({ deadlineMs: 100 })), watch(cluster.drain({ deadlineMs: 9_000 }))]
    await clock.advance(100)
    expect(both.map(({ value }) => value)).toEqual([
      { finished: false, left: { lock: ['held'] } },
      { finished: false, left: { lock: ['held'] } },
    ])
    await cluster.close()
  })

  test('is not cut short by a wall clock that is set', async () => {
    const { clock, cluster } = await onSteeredLock()
    const waiting = watch(cluster.locks.run('key', never, { ttlMs: 2_147_483_647 }))
    await clock.advance(0)
    const draining = watch(cluster.drain({ deadlineMs: 1_000 }))
    clock.jumpWallClock(86_400_000)
    await clock.advance(999)
    expect([draining.state, waiting.state]).toEqual(['pending', 'pending'])
    await cluster.close()
  })

  test.each([{ deadlineMs: -1 }, { deadlineMs: 1.5 }])('refuses %j by a rejection', async (options) => {
    const { cluster } = await onSteeredLock()
    await expect(cluster.drain(options)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(cluster.health().state).toBe('running')
    await cluster.close()
  })

  test('refuses an option that does not exist', async () => {
    const { cluster } = await onSteeredLock()
    const misspelt = { deadlineMs: 5, deadline: 5 }
    await expect(cluster.drain(misspelt)).rejects.toThrow('drain has no option "deadline"')
    await cluster.close()
  })
})

describe('Cluster.close', () => {
  test('happens once, and later calls reject with CLOSED', async () => {
    const { lock, cluster } = await onSteeredLock()
    const { locks } = cluster
    await Promise.all([cluster.close(), cluster.close()])
    await cluster.close()
    expect(lock.verbs()).toEqual(['close'])
    expect(cluster.health().state).toBe('closed')
    const calls = [locks.acquire('key'), locks.tryAcquire('key'), locks.run('key', () => 'ran')]
    for (const call of calls) await expect(call).rejects.toMatchObject({ code: 'CLOSED', retryable: false })
    expect(lock.verbs()).toEqual(['close'])
  })

  test('is what `await using` does', async () => {
    const { lock, cluster } = await onSteeredLock()
    {
      await using used = cluster
      expect(used.health().state).toBe('running')
    }
    expect(lock.verbs()).toEqual(['close'])
  })

  test('takes waiting back at the backend before the driver is closed', async () => {
    const { clock, lock, cluster, errors } = await onSteeredLock()
    lock.store.acquire({ key: 'key', owner: 'somebody', ttlMs: 60_000, waitMs: 0 })
    const waiting = watch(cluster.locks.acquire('key', { waitMs: 60_000 }))
    await clock.advance(0)
    await cluster.close()
    expect(waiting.value).toMatchObject({ code: 'CLOSED' })
    expect(lock.verbs()).toEqual(['acquire', 'cancel', 'close'])
    expect(errors).toEqual([])
    expect(clock.pendingTimers).toBe(0)
  })

  test('lets a release that is on its way arrive before the driver is closed', async () => {
    const { lock, cluster } = await onSteeredLock()
    const released = new Later<'released'>()
    lock.answers.release = () => released.promise
    const lease = await cluster.locks.acquire('key')
    const releasing = lease.release()
    expect(await cluster.drain()).toEqual({ finished: true, left: {} })
    const closing = watch(cluster.close())
    await turn()
    expect([closing.state, lock.verbs().at(-1)]).toEqual(['pending', 'release'])
    released.resolve('released')
    expect(await releasing).toBe('released')
    await turn()
    expect([closing.state, lock.verbs().at(-1)]).toEqual(['resolved', 'close'])
  })

  test.each([
    ['acquire', (cluster: Cluster) => cluster.locks.acquire('key')],
    ['tryAcquire', (cluster: Cluster) => cluster.locks.tryAcquire('key')],
  ] as const)('ends an %s that waits for its answer, and undoes it', async (_, start) => {
    const { lock, cluster } = await onSteeredLock()
    lock.answers.acquire = never
    const acquiring = watch(start(cluster))
    await turn()
    await cluster.close()
    expect(acquiring.value).toMatchObject({ code: 'CLOSED' })
    expect(lock.verbs()).toEqual(['acquire', 'cancel', 'close'])
  })

  test('does not release what is held: the signal is aborted, and the lease runs out on the server', async () => {
    const { clock, lock, cluster, errors } = await onSteeredLock()
    const routine = new Later<string>()
    const running = watch(cluster.locks.run('key', () => routine.promise))
    const lease = await cluster.locks.acquire('other')
    await cluster.close()
    expect(lease).toMatchObject({ held: false, signal: { aborted: true, reason: { code: 'LOST' } } })
    await expect(lease.extend()).rejects.toMatchObject({ code: 'LOST' })
    await expect(lease.release()).rejects.toMatchObject({ code: 'CLOSED' })
    routine.resolve('too late')
    await clock.advance(0)
    expect(running.value).toMatchObject({ code: 'LOST' })
    expect(lock.verbs()).toEqual(['acquire', 'acquire', 'close'])
    expect(errors).toEqual([])
    expect(clock.pendingTimers).toBe(0)
  })

  test('ends a drain that still waits', async () => {
    const { clock, cluster } = await onSteeredLock()
    await cluster.locks.acquire('key')
    const draining = watch(cluster.drain())
    await turn()
    await cluster.close()
    await turn()
    expect(draining.state).toBe('resolved')
    expect(clock.pendingTimers).toBe(0)
  })

  test.each<readonly [string, () => Promise<void>]>([
    ['rejects', () => Promise.reject(new Error('socket at redis://:hunter2@db'))],
    [
      'throws',
      () => {
        throw new Error('socket at redis://:hunter2@db')
      },
    ],
  ])('reports a driver that %s when it is closed, and resolves', async (_, close) => {
    const { lock, cluster, errors } = await onSteeredLock()
    lock.answers.close = close
    await cluster.close()
    expect(errors).toMatchObject([{ code: 'INTERNAL', message: expect.stringContaining('redis://:***@db') }])
  })

  test('gives a driver that never closes callTimeoutMs, and reports it', async () => {
    const { clock, lock, cluster, errors } = await onSteeredLock({ callTimeoutMs: 2_000 })
    lock.answers.close = never
    const closing = watch(cluster.close())
    await clock.advance(1_999)
    expect(closing.state).toBe('pending')
    await clock.advance(1)
    expect(closing.state).toBe('resolved')
    expect(errors).toMatchObject([
      { code: 'TIMEOUT', message: 'lock on steered did not close within 2000 ms.' },
    ])
    expect(clock.pendingTimers).toBe(0)
  })

  test('leaves no timer though a ping was never answered, and stops the probes', async () => {
    const { clock, lock, cluster } = await onSteeredLock()
    lock.answers.ping = never
    await clock.advance(5_000)
    expect(clock.pendingTimers).toBeGreaterThan(0)
    await cluster.close()
    expect(clock.pendingTimers).toBe(0)
    await clock.advance(60_000)
    expect(cluster.health()).toMatchObject({ state: 'closed', status: 'ok' })
  })
})

describe('Cluster.health', () => {
  test('follows the backend, without waiting', async () => {
    const { clock, lock, cluster } = await onSteeredLock()
    expect(cluster.health()).toMatchObject({
      state: 'running',
      status: 'ok',
      capabilities: { lock: { status: 'ok', notes: [] } },
    })
    lock.answers.ping = () => Promise.reject(new MultinodeError('UNAVAILABLE', 'gone'))
    await clock.advance(5_000)
    expect(cluster.health()).toMatchObject({
      status: 'down',
      capabilities: { lock: { status: 'down', lastError: 'gone' } },
    })
    delete lock.answers.ping
    await clock.advance(1_000)
    expect(cluster.health().status).toBe('ok')
    await cluster.close()
  })
})

describe('Cluster.on error', () => {
  test('hears trouble that no caller is waiting for, until it is taken off', async () => {
    const { lock, cluster } = await onSteeredLock()
    const gone = new MultinodeError('REJECTED', 'gone')
    lock.answers.release = () => Promise.reject(gone)
    const heard: unknown[] = []
    const listener = (error: MultinodeError): void => {
      heard.push(error)
    }
    expect(cluster.on('error', listener)).toBe(cluster)
    expect(await cluster.locks.run('one', () => 'kept')).toBe('kept')
    expect(heard).toEqual([gone])
    expect(cluster.off('error', listener)).toBe(cluster)
    await cluster.locks.run('two', () => 'kept')
    expect(heard).toEqual([gone])
    await cluster.close()
  })

  test('refuses an event that does not exist', async () => {
    await using cluster = await createCluster({ env: {} })
    const on: unknown = Reflect.get(cluster, 'on')
    if (!(on instanceof Function)) throw new Error('there is no such method')
    expect(() => Reflect.apply(on, cluster, ['eror', () => {}])).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    )
  })

  test('without a listener it is a warning of the process', async () => {
    using warnings = new Warnings()
    const clock = new ManualClock()
    const lock = new SteeredLock(clock, { release: () => Promise.reject(new Error('odd')) })
    const options = {
      env: {},
      name: 'shop',
      clock,
      capabilities: ['lock'],
      plugins: [lock.plugin()],
    } as const
    await using cluster = await createCluster(options)
    await cluster.locks.run('key', () => {})
    expect(await warnings.messages()).toEqual([
      expect.stringContaining('INTERNAL: lock on steered: release failed: odd'),
    ])
  })
})

describe('Cluster.handleSignals', () => {
  const listeners = (): number => process.listenerCount('SIGTERM') + process.listenerCount('SIGINT')

  test('listens until it is taken off, or until the cluster object is closed', async () => {
    const before = listeners()
    const { cluster } = await onSteeredLock()
    const remove = cluster.handleSignals()
    expect(listeners()).toBe(before + 2)
    remove()
    remove()
    expect(listeners()).toBe(before)
    cluster.handleSignals()
    await cluster.close()
    expect(listeners()).toBe(before)
  })

  test('refuses bad options and then listens to nothing', async () => {
    const before = listeners()
    const { cluster } = await onSteeredLock()
    expect(await failureOf(() => cluster.handleSignals({ deadlineMs: -1 }))).toMatchObject({
      code: 'INVALID_ARGUMENT',
    })
    const misspelt = { deadlineMs: 5, deadline: 5 }
    expect(await failureOf(() => cluster.handleSignals(misspelt))).toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(listeners()).toBe(before)
    await cluster.close()
  })
})

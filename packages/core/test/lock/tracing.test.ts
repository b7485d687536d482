import { tracingChannel } from 'node:diagnostics_channel'
import { afterEach, describe, expect, test } from 'vitest'
import { MultinodeError } from '../../src/index.ts'
import { failureOf } from '../support/outcome.ts'
import { LocksOn } from '../support/locks-on.ts'

interface Traced {
  readonly channel: string
  readonly event: string
  readonly message: object
}

const stops: (() => void)[] = []
afterEach(() => {
  for (const stop of stops.splice(0)) stop()
})

/** Everything that is published on a channel from now on. */
function listen(channel: string, traced: Traced[]): void {
  const tracing = tracingChannel<object>(channel)
  const note = (event: string) => (message: object) => {
    traced.push({ channel, event, message: { ...message } })
  }
  const subscribers = {
    start: note('start'),
    end: note('end'),
    asyncStart: note('asyncStart'),
    asyncEnd: note('asyncEnd'),
    error: note('error'),
  }
  tracing.subscribe(subscribers)
  stops.push(() => tracing.unsubscribe(subscribers))
}

describe('the tracing channels of locks', () => {
  test('publish each call with its key and backend, and its result', async () => {
    const traced: Traced[] = []
    for (const verb of ['acquire', 'extend', 'release']) listen(`multinode:lock.${verb}`, traced)
    const on = new LocksOn()
    const lease = await on.locks.acquire('key')
    await lease.extend()
    await lease.release()
    const ended = traced.filter(({ event }) => event === 'asyncEnd')
    expect(ended).toMatchObject([
      { channel: 'multinode:lock.acquire', message: { key: 'key', backend: 'steered', result: lease } },
      { channel: 'multinode:lock.extend', message: { key: 'key', backend: 'steered', result: 'extended' } },
      { channel: 'multinode:lock.release', message: { key: 'key', backend: 'steered', result: 'released' } },
    ])
    expect(traced.filter(({ event }) => event === 'start')).toHaveLength(3)
  })

  test('publish run as its acquisition and its release, and tryAcquire as an acquisition', async () => {
    const traced: Traced[] = []
    for (const verb of ['acquire', 'release']) listen(`multinode:lock.${verb}`, traced)
    const on = new LocksOn()
    await on.locks.run('key', () => {})
    on.occupy('key')
    await on.locks.tryAcquire('key')
    expect(traced.filter(({ event }) => event === 'asyncEnd').map(({ channel }) => channel)).toEqual([
      'multinode:lock.acquire',
      'multinode:lock.release',
      'multinode:lock.acquire',
    ])
    expect(traced.at(-1)).toMatchObject({ message: { result: null } })
  })

  test('publish a failure as the typed error that the caller gets', async () => {
    const traced: Traced[] = []
    listen('multinode:lock.acquire', traced)
    const gone = new MultinodeError('REJECTED', 'no')
    const on = new LocksOn({ acquire: () => Promise.reject(gone) })
    expect(await failureOf(() => on.locks.acquire('key'))).toBe(gone)
    const failed = traced.find(({ event }) => event === 'error')
    expect(failed?.message).toHaveProperty('error', gone)
  })

  test('are left alone when nobody listens: what a late listener hears is complete', async () => {
    const traced: Traced[] = []
    const on = new LocksOn()
    const lease = await on.locks.acquire('key')
    listen('multinode:lock.acquire', traced)
    listen('multinode:lock.release', traced)
    await lease.release()
    stops.splice(0).forEach((stop) => stop())
    await on.locks.run('key', () => {})
    expect(traced.map(({ channel, event }) => `${channel} ${event}`)).toEqual([
      'multinode:lock.release start',
      'multinode:lock.release end',
      'multinode:lock.release asyncStart',
      'multinode:lock.release asyncEnd',
    ])
  })
})

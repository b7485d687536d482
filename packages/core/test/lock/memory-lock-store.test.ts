import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { beforeEach, describe, expect, test } from 'vitest'
import type { AcquireReply, SharedMode } from '../../src/index.ts'
import { MemoryLockStore } from '../../src/lock/memory-lock-store.ts'
import { ManualClock } from '../../src/testing/index.ts'

let clock = new ManualClock()
let store = new MemoryLockStore(clock)
beforeEach(() => {
  clock = new ManualClock()
  store = new MemoryLockStore(clock)
})

function ask(owner: string, { ttlMs = 10_000, waitMs = 10_000, key = 'key' } = {}): string {
  return store.acquire({ key, owner, ttlMs, waitMs }).status
}

/** When an owner was woken. */
function wakesOf(owner: string): number[] {
  const wakes: number[] = []
  store.onWake(owner, () => wakes.push(clock.monotonicMs()))
  return wakes
}

describe('the lock on memory', () => {
  test('says how long a refused caller may wait before it asks again: until the lease ends', () => {
    ask('holder', { ttlMs: 1_500 })
    clock.freeze(500)
    expect(store.acquire({ key: 'key', owner: 'b', ttlMs: 1_000, waitMs: 0 })).toEqual({
      status: 'busy',
      retryAfterMs: 1_000,
    })
  })

  test('a lease ends exactly at its ttl', () => {
    ask('holder', { ttlMs: 1_000 })
    clock.freeze(999)
    expect(ask('b', { waitMs: 0 })).toBe('busy')
    expect(store.extend('key', 'holder', 1_000)).toBe('extended')
    clock.freeze(1_000)
    expect(store.extend('key', 'holder', 1_000)).toBe('expired')
    expect(ask('b', { waitMs: 0 })).toBe('granted')
    expect(store.release('key', 'holder')).toBe('not-owner')
  })

  test('a late copy of an acquisition does not shorten what was extended since', () => {
    ask('holder', { ttlMs: 100 })
    store.extend('key', 'holder', 10_000)
    expect(ask('holder', { ttlMs: 100 })).toBe('granted')
    clock.freeze(9_999)
    expect(ask('b', { waitMs: 0 })).toBe('busy')
    clock.freeze(1)
    expect(ask('b', { waitMs: 0 })).toBe('granted')
  })

  test('a wall clock that is set neither ends a lease nor makes a token repeat', () => {
    const first = store.acquire({ key: 'key', owner: 'a', ttlMs: 1_000, waitMs: 0 })
    clock.jumpWallClock(3_600_000)
    expect(ask('b', { waitMs: 0 })).toBe('busy')
    clock.jumpWallClock(-7_200_000)
    clock.freeze(1_000)
    const second = store.acquire({ key: 'key', owner: 'b', ttlMs: 1_000, waitMs: 0 })
    expect(first.status === 'granted' && second.status === 'granted' && second.token > first.token).toBe(true)
  })

  test('tokens also grow from one store to the next', () => {
    const other = new MemoryLockStore(new ManualClock(0))
    const tokens = [store, other, store].map((each, index) => {
      const reply = each.acquire({ key: 'key', owner: `o${index}`, ttlMs: 10, waitMs: 0 })
      clock.freeze(10)
      return reply.status === 'granted' ? reply.token : 0
    })
    expect(tokens.every((token, index) => token > (tokens[index - 1] ?? 0))).toBe(true)
  })
})

describe('the queue', () => {
  test('a free lock is reserved for the head: nobody else gets it, also not one that asks first', () => {
    ask('holder')
    ask('head')
    ask('second')
    store.release('key', 'holder')
    expect(['passer-by', 'second', 'head'].map((owner) => ask(owner))).toEqual(['busy', 'busy', 'granted'])
  })

  test('wakes the head at once when the lock is released, and nobody else', () => {
    ask('holder')
    const [head, second] = [wakesOf('head'), wakesOf('second')]
    ask('head')
    ask('second')
    clock.freeze(50)
    store.release('key', 'holder')
    expect([head, second]).toEqual([[50], []])
  })

  test('a head that does not come is passed over after 200 ms, and the next one is woken', async () => {
    ask('holder')
    ask('head')
    const second = wakesOf('second')
    ask('second')
    store.release('key', 'holder')
    await clock.advance(199)
    expect([ask('second'), second]).toEqual(['busy', []])
    await clock.advance(2)
    expect(second).toEqual([201])
    expect(ask('second')).toBe('granted')
    expect(ask('head')).toBe('busy')
  })

  test('a head that comes after it was passed over goes to the end', async () => {
    ask('holder')
    for (const owner of ['head', 'second']) ask(owner)
    store.release('key', 'holder')
    await clock.advance(201)
    expect(ask('head')).toBe('busy')
    expect(ask('second')).toBe('granted')
    store.release('key', 'second')
    expect(ask('head')).toBe('granted')
  })

  test('whoever is next when a head does not come is woken, though it was not next before', async () => {
    ask('holder')
    for (const owner of ['head', 'second']) ask(owner)
    const third = wakesOf('third')
    ask('third')
    store.release('key', 'holder')
    store.cancel('key', 'second')
    await clock.advance(201)
    expect(third).toEqual([201])
    expect(ask('third')).toBe('granted')
  })

  test('a head that is cancelled leaves its turn to the next one at once', () => {
    ask('holder')
    const second = wakesOf('second')
    for (const owner of ['head', 'second']) ask(owner)
    store.release('key', 'holder')
    store.cancel('key', 'head')
    expect(second).toEqual([0])
    expect(ask('second')).toBe('granted')
    expect(clock.pendingTimers).toBe(0)
  })

  test('cancelling a holder hands the lock to the head', () => {
    ask('holder')
    const head = wakesOf('head')
    ask('head')
    store.cancel('key', 'holder')
    expect(head).toEqual([0])
    expect(ask('head')).toBe('granted')
  })

  test('a waiter whose time is over has no place any more', () => {
    ask('holder', { ttlMs: 60_000 })
    ask('short', { waitMs: 100 })
    ask('long')
    clock.freeze(100)
    store.release('key', 'holder')
    expect(ask('long')).toBe('granted')
  })

  test('asking again neither loses nor doubles a place, and prolongs it', () => {
    ask('holder', { ttlMs: 60_000 })
    ask('head', { waitMs: 100 })
    ask('second')
    clock.freeze(50)
    ask('head', { waitMs: 100 })
    clock.freeze(60)
    store.release('key', 'holder')
    expect(ask('second')).toBe('busy')
    expect(ask('head')).toBe('granted')
    store.release('key', 'head')
    expect(ask('second')).toBe('granted')
    store.release('key', 'second')
    expect(ask('new', { waitMs: 0 })).toBe('granted')
  })

  test('one that does not wait leaves no place behind', () => {
    ask('holder')
    ask('passer-by', { waitMs: 0 })
    store.release('key', 'holder')
    expect(ask('other', { waitMs: 0 })).toBe('granted')
  })

  test('when the holder is gone without a release, the head gets the lock, not who asks first', () => {
    ask('holder', { ttlMs: 100 })
    ask('head')
    clock.freeze(100)
    expect(ask('passer-by')).toBe('busy')
    expect(ask('head')).toBe('granted')
  })

  test('nobody is woken after it unsubscribed', () => {
    ask('holder')
    const wakes: string[] = []
    store.onWake('head', () => wakes.push('woken'))()
    ask('head')
    store.release('key', 'holder')
    expect(wakes).toEqual([])
  })
})

describe('the head of the queue, when it does not come', () => {
  test('leaves its place also when the one behind it waits no more: the third is next at once', () => {
    ask('holder')
    ask('head')
    ask('short', { waitMs: 100 })
    ask('third')
    store.release('key', 'holder')
    clock.freeze(200)
    expect(ask('third')).toBe('granted')
  })

  test('has no claim any more when its own wait is over', () => {
    ask('holder')
    ask('head', { waitMs: 100 })
    const second = wakesOf('second')
    ask('second')
    store.release('key', 'holder')
    clock.freeze(100)
    expect(ask('passer-by')).toBe('busy')
    expect(second).toEqual([100])
    expect(ask('second')).toBe('granted')
  })

  test('is passed over also when another call looks at the lock in that very moment: the next one is woken', async () => {
    const waiting = { key: 'key', ttlMs: 10_000, waitMs: 10_000, mode: 'permit', permits: 2 } as const
    for (const owner of ['one', 'two', 'head', 'second']) store.acquire({ ...waiting, owner })
    const second = wakesOf('second')
    store.release('key', 'one')
    clock.freeze(200)
    store.extend('key', 'two', 10_000)
    await clock.advance(1)
    expect(second).toEqual([201])
    expect(store.acquire({ ...waiting, owner: 'second' }).status).toBe('granted')
  })
})

describe('a cancelled owner', () => {
  test('is refused for a minute, and only that owner', () => {
    store.cancel('key', 'gone')
    clock.freeze(59_999)
    expect([ask('gone'), ask('gone', { key: 'other' }), ask('here')]).toEqual([
      'cancelled',
      'cancelled',
      'granted',
    ])
    clock.freeze(1)
    expect(ask('gone', { key: 'other' })).toBe('granted')
  })
})

describe('modes', () => {
  interface Asked {
    readonly mode: SharedMode
    readonly permits?: number
    readonly waitMs?: number
    readonly ttlMs?: number
  }

  function share(owner: string, { mode, permits = 1, waitMs = 10_000, ttlMs = 10_000 }: Asked): AcquireReply {
    return store.acquire({ key: 'key', owner, ttlMs, waitMs, mode, permits })
  }

  function tokenOf(reply: AcquireReply): number {
    return reply.status === 'granted' ? reply.token : 0
  }

  test('as many as there are permits, and the number of whoever asks counts', () => {
    const replies = ['a', 'b', 'c'].map((owner) => share(owner, { mode: 'permit', permits: 2, waitMs: 0 }))
    expect(replies.map(({ status }) => status)).toEqual(['granted', 'granted', 'busy'])
    expect(share('d', { mode: 'permit', permits: 3, waitMs: 0 }).status).toBe('granted')
    const tokens = replies.slice(0, 2).map(tokenOf)
    expect(tokens[1]).toBeGreaterThan(tokens[0] ?? Infinity)
  })

  test('readers have the token of the first of them, also when that one has left', () => {
    const [first, second] = [share('a', { mode: 'read' }), share('b', { mode: 'read' })]
    expect(second).toEqual(first)
    store.release('key', 'a')
    expect(share('c', { mode: 'read' })).toEqual(first)
    for (const owner of ['b', 'c']) store.release('key', owner)
    expect(tokenOf(share('d', { mode: 'read' }))).toBeGreaterThan(tokenOf(first))
  })

  test('a refused one is told when the first of the leases ends', () => {
    share('a', { mode: 'read', ttlMs: 3_000 })
    share('b', { mode: 'read', ttlMs: 1_000 })
    expect(share('c', { mode: 'write', waitMs: 0 })).toEqual({ status: 'busy', retryAfterMs: 1_000 })
  })

  test('each grant offers what is left to the next in the queue: readers follow each other in at once', () => {
    share('writer', { mode: 'write' })
    const wakes = ['a', 'b', 'second writer'].map(wakesOf)
    share('a', { mode: 'read' })
    share('b', { mode: 'read' })
    share('second writer', { mode: 'write' })
    store.release('key', 'writer')
    expect(wakes).toEqual([[0], [], []])
    share('a', { mode: 'read' })
    expect(wakes).toEqual([[0], [0], []])
    share('b', { mode: 'read' })
    expect(wakes).toEqual([[0], [0], []])
  })

  test('nobody passes who waits: not the reader beside whom there is room, not a permit', () => {
    share('reader', { mode: 'read' })
    share('writer', { mode: 'write' })
    expect(share('late reader', { mode: 'read', waitMs: 0 }).status).toBe('busy')
    store.cancel('key', 'writer')
    expect(share('late reader', { mode: 'read', waitMs: 0 }).status).toBe('granted')
  })

  test('extend and release concern the own lease alone', () => {
    share('a', { mode: 'read', ttlMs: 1_000 })
    share('b', { mode: 'read', ttlMs: 1_000 })
    expect([store.extend('key', 'c', 10), store.release('key', 'c')]).toEqual(['expired', 'expired'])
    expect(store.extend('key', 'a', 5_000)).toBe('extended')
    clock.freeze(1_000)
    expect([store.release('key', 'b'), store.release('key', 'a')]).toEqual(['expired', 'released'])
    share('writer', { mode: 'write' })
    expect([store.extend('key', 'a', 10), store.release('key', 'a')]).toEqual(['not-owner', 'not-owner'])
  })

  test('a late copy of a request does not shorten what was extended since', () => {
    share('a', { mode: 'permit', ttlMs: 1_000 })
    store.extend('key', 'a', 5_000)
    share('a', { mode: 'permit', ttlMs: 1_000 })
    clock.freeze(4_999)
    expect(store.release('key', 'a')).toBe('released')
  })
})

describe('memory', () => {
  test('100,000 locks and waiters that nobody gives back leave nothing behind', () => {
    setFlagsFromString('--expose-gc')
    const collect: unknown = runInNewContext('gc')
    const heapUsed = (): number => {
      if (typeof collect === 'function') Reflect.apply(collect, undefined, [])
      return process.memoryUsage().heapUsed
    }
    const before = heapUsed()
    for (let index = 0; index < 100_000; index += 1) {
      const key = `abandoned-${index}`
      store.acquire({ key, owner: `o${index}`, ttlMs: 10, waitMs: 0 })
      store.acquire({ key, owner: `w${index}`, ttlMs: 10, waitMs: 10 })
      if (index % 10 === 0) clock.freeze(1)
    }
    clock.freeze(1_000)
    for (let index = 0; index < 50_000; index += 1) {
      const owner = `o${index}`
      store.acquire({ key: `given-back-${index}`, owner, ttlMs: 10, waitMs: 0 })
      store.release(`given-back-${index}`, owner)
      store.cancel(`given-back-${index}`, owner)
      clock.freeze(60)
    }
    expect(heapUsed() - before).toBeLessThan(2_000_000)
    expect(clock.pendingTimers).toBe(0)
    expect(ask('last')).toBe('granted')
  })
})

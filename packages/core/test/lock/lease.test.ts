import { beforeEach, describe, expect, test } from 'vitest'
import type { ExtendReply, ReleaseReply } from '../../src/index.ts'
import { MultinodeError, type Timer } from '../../src/index.ts'
import { Lease } from '../../src/lock/lease.ts'
import { now } from '../../src/runtime/clock.ts'
import { ManualClock } from '../../src/testing/index.ts'
import { failureOf, Later, watch } from '../support/outcome.ts'

let clock = new ManualClock()
let ends: string[] = []
let extensions: { ttlMs: number; timeoutMs: number; answer: Later<ExtendReply> }[] = []
let releases: Later<ReleaseReply>[] = []
let reports: unknown[] = []
beforeEach(() => {
  clock = new ManualClock()
  ends = []
  extensions = []
  releases = []
  reports = []
})

/** A lease whose server is the test. */
function lease(ttlMs = 1_000): Lease {
  const grant = { key: 'key', token: 7, ttlMs, sentAt: now(clock) }
  return new Lease(grant, {
    clock,
    callTimeoutMs: 5_000,
    extend(newTtlMs, timeoutMs) {
      const answer = new Later<ExtendReply>()
      extensions.push({ ttlMs: newTtlMs, timeoutMs, answer })
      return answer.promise
    },
    release() {
      const answer = new Later<ReleaseReply>()
      releases.push(answer)
      return answer.promise
    },
    report: (error) => reports.push(error),
    ended: (_, how) => ends.push(how),
  })
}

async function answerLast(reply: ExtendReply): Promise<void> {
  extensions.at(-1)?.answer.resolve(reply)
  await clock.advance(0)
}

const lost = expect.objectContaining({ code: 'LOST', details: { key: 'key', token: 7 } })

describe('the deadline of a lease', () => {
  test('is the ttl from when the request was sent, less 1 % and 2 ms', async () => {
    const held = lease()
    expect(held.remainingMs()).toBe(988)
    await clock.advance(987)
    expect(held).toMatchObject({ held: true, signal: { aborted: false } })
    await clock.advance(1)
    expect(held).toMatchObject({ held: false, signal: { aborted: true } })
    expect(held.remainingMs()).toBe(0)
    expect(held.signal.reason).toEqual(lost)
    expect(ends).toEqual(['lost'])
    expect(clock.pendingTimers).toBe(0)
  })

  test('holds with a blocked event loop too: held and assertHeld ask the clock, no timer', () => {
    const held = lease()
    clock.freeze(987)
    expect(held.held).toBe(true)
    expect(() => held.assertHeld()).not.toThrow()
    clock.freeze(1)
    expect(held.held).toBe(false)
    expect(held.remainingMs()).toBe(0)
    expect(held.signal.aborted).toBe(false)
    expect(() => held.assertHeld()).toThrow(lost)
    expect(held.signal.aborted).toBe(true)
    expect(() => held.throwIfLost()).toThrow(lost)
    expect(ends).toEqual(['lost'])
  })

  test('a wall clock that jumps ahead ends it at once, as after a suspended machine', () => {
    const held = lease()
    clock.jumpWallClock(3_600_000)
    expect(held.held).toBe(false)
    expect(() => held.assertHeld()).toThrow(lost)
  })

  test('a suspended machine, where timers stood still, is noticed within a second', async () => {
    const held = lease(60_000)
    clock.jumpWallClock(60_000)
    expect(held.signal.aborted).toBe(false)
    await clock.advance(1_000)
    expect(held.signal.reason).toEqual(lost)
  })

  test('a wall clock that is set back never prolongs it', async () => {
    const held = lease()
    clock.jumpWallClock(-3_600_000)
    expect(held.remainingMs()).toBe(988)
    await clock.advance(987)
    expect(held.held).toBe(true)
    await clock.advance(1)
    expect(held).toMatchObject({ held: false, signal: { aborted: true } })
  })

  test('is not announced before its time by a timer that fires early', async () => {
    class EarlyClock extends ManualClock {
      override setTimer(callback: () => void, delayMs: number): Timer {
        return super.setTimer(callback, delayMs * 0.999)
      }
    }
    clock = new EarlyClock()
    const held = lease()
    await clock.advance(987.5)
    expect(held).toMatchObject({ held: true, signal: { aborted: false } })
    await clock.advance(1)
    expect(held).toMatchObject({ held: false, signal: { aborted: true } })
  })
})

describe('extending a lease', () => {
  test('starts it anew from when the request was sent, with the ttl as before', async () => {
    const held = lease()
    await clock.advance(500)
    const extending = watch(held.extend())
    await clock.advance(100)
    await answerLast('extended')
    expect(extending.state).toBe('resolved')
    expect(extensions).toMatchObject([{ ttlMs: 1_000, timeoutMs: 5_000 }])
    expect(held.remainingMs()).toBe(888)
    await clock.advance(888)
    expect(held.signal.aborted).toBe(true)
    expect(clock.pendingTimers).toBe(0)
  })

  test('keeps a new ttl for the next time', async () => {
    const held = lease()
    void held.extend(5_000)
    await answerLast('extended')
    expect(held.remainingMs()).toBe(4_948)
    void held.extend()
    expect(extensions.at(-1)?.ttlMs).toBe(5_000)
  })

  test.each([0, 9, 10.5, Number.NaN, -1, 2_147_483_648])(
    'refuses the ttl %d and asks nobody',
    async (ttlMs) => {
      const held = lease()
      await expect(held.extend(ttlMs)).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
        details: { name: 'ttlMs' },
      })
      expect(extensions).toEqual([])
      expect(held.held).toBe(true)
    },
  )

  test.each(['expired', 'not-owner'] as const)('the answer %s is the loss, told at once', async (reply) => {
    const held = lease()
    const extending = watch(held.extend())
    await answerLast(reply)
    expect(extending.value).toEqual(lost)
    expect(held).toMatchObject({ held: false, signal: { aborted: true, reason: lost } })
    expect(ends).toEqual(['lost'])
  })

  test('a failure leaves the deadline, and trying again is safe', async () => {
    const held = lease()
    const gone = new MultinodeError('UNAVAILABLE', 'gone')
    await clock.advance(400)
    const extending = watch(held.extend(60_000))
    extensions.at(-1)?.answer.reject(gone)
    await clock.advance(0)
    expect(extending.value).toBe(gone)
    expect(held.remainingMs()).toBe(588)
    const again = watch(held.extend())
    await answerLast('extended')
    expect([again.state, held.remainingMs()]).toEqual(['resolved', 988])
  })

  test('to a shorter ttl counts from the request on, because its answer may be lost', async () => {
    const held = lease(30_000)
    const extending = watch(held.extend(1_000))
    expect(held.remainingMs()).toBe(988)
    extensions.at(-1)?.answer.reject(new MultinodeError('TIMEOUT', 'no answer', { outcome: 'unknown' }))
    await clock.advance(987)
    expect(extending.state).toBe('rejected')
    expect(held.held).toBe(true)
    await clock.advance(1)
    expect(held).toMatchObject({ held: false, signal: { aborted: true } })
  })

  test('of two requests under way, the one that was sent last decides, however late the other is answered', async () => {
    const held = lease(30_000)
    void held.extend(60_000)
    await clock.advance(10)
    void held.extend(1_000)
    extensions[1]?.answer.resolve('extended')
    await clock.advance(10)
    extensions[0]?.answer.resolve('extended')
    await clock.advance(10)
    expect(held.remainingMs()).toBe(968)
  })

  test('never resolves with a lease that is not held: an answer after the new deadline is the loss', async () => {
    const held = lease(30_000)
    const extending = watch(held.extend(1_000))
    clock.freeze(1_500)
    await answerLast('extended')
    expect(extending.value).toEqual(lost)
    expect(held.held).toBe(false)
  })

  test('an answer after the old deadline does not bring it back', async () => {
    const held = lease()
    const extending = watch(held.extend(60_000))
    clock.freeze(1_000)
    expect(held.held).toBe(false)
    await answerLast('extended')
    expect(extending.value).toEqual(lost)
    expect(held.held).toBe(false)
  })

  test('is refused once the lease is lost or released, and asks nobody', async () => {
    const old = lease()
    clock.freeze(2_000)
    await expect(old.extend()).rejects.toEqual(lost)
    const released = lease()
    void released.release()
    await expect(released.extend()).rejects.toMatchObject({
      code: 'LOST',
      message: expect.stringContaining('released'),
    })
    expect(extensions).toEqual([])
  })

  test('a release meanwhile makes it fail and keeps the lease released', async () => {
    const held = lease()
    const extending = watch(held.extend())
    void held.release()
    await answerLast('extended')
    expect(extending.value).toMatchObject({ code: 'LOST', message: expect.stringContaining('ended while') })
    expect(held).toMatchObject({ held: false, signal: { aborted: false } })
    expect(clock.pendingTimers).toBe(0)
  })
})

describe('releasing a lease', () => {
  test('is one round trip, however often it is called, and no loss', async () => {
    const held = lease()
    const calls = [held.release(), held.release(), held[Symbol.asyncDispose]()]
    expect(releases).toHaveLength(1)
    releases[0]?.resolve('released')
    expect(await Promise.all(calls)).toEqual(['released', 'released', undefined])
    expect(held).toMatchObject({ held: false, signal: { aborted: false } })
    expect(held.remainingMs()).toBe(0)
    expect(() => held.throwIfLost()).not.toThrow()
    expect(() => held.assertHeld()).toThrow(lost)
    await clock.advance(10_000)
    expect(held.signal.aborted).toBe(false)
    expect(ends).toEqual(['released'])
    expect(clock.pendingTimers).toBe(0)
  })

  test('by `await using` reports a failure, so that it does not replace the error of the block', async () => {
    const held = lease()
    const disposing = held[Symbol.asyncDispose]()
    const failure = new Error('the server is away')
    releases[0]?.reject(failure)
    await disposing
    expect(reports).toEqual([failure])
  })

  test('is still asked for after the loss, and says what it found', async () => {
    const held = lease()
    await clock.advance(1_000)
    const releasing = held.release()
    releases[0]?.resolve('expired')
    expect(await releasing).toBe('expired')
    expect(ends).toEqual(['lost'])
  })

  test('rejects when the server could not be asked, and does not ask again', async () => {
    const held = lease()
    const gone = new MultinodeError('UNAVAILABLE', 'gone')
    const releasing = failureOf(() => held.release())
    releases[0]?.reject(gone)
    expect(await releasing).toBe(gone)
    expect(await failureOf(() => held.release())).toBe(gone)
    expect(releases).toHaveLength(1)
  })
})

describe('abandoning a lease', () => {
  test('ends it here without a word to the server', () => {
    const held = lease()
    held.abandon('the cluster object was closed')
    held.abandon('again')
    expect(held).toMatchObject({ held: false, signal: { aborted: true, reason: lost } })
    expect(ends).toEqual(['lost'])
    expect([extensions.length, releases.length, clock.pendingTimers]).toEqual([0, 0, 0])
  })

  test('does nothing to one that was released', () => {
    const held = lease()
    void held.release()
    held.abandon('closed')
    expect(held.signal.aborted).toBe(false)
    expect(ends).toEqual(['released'])
  })
})

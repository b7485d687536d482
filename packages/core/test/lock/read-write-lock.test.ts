import { describe, expect, test } from 'vitest'
import type { Lease, ReadWriteLock } from '../../src/index.ts'
import { Later, type Outcome, watch } from '../support/outcome.ts'
import { LocksOn } from '../support/locks-on.ts'

/** Somebody inside, for as long as the test wants. */
class Party {
  readonly #leaving = new Later<void>()
  lease: Lease | undefined
  outcome: Outcome

  constructor(lock: ReadWriteLock, how: 'read' | 'write', ttlMs = 60_000) {
    const stay = (lease: Lease): Promise<void> => {
      this.lease = lease
      return this.#leaving.promise
    }
    this.outcome = watch(lock[how](stay, { waitMs: 600_000, ttlMs }))
  }

  get isInside(): boolean {
    return this.lease !== undefined && this.outcome.state === 'pending'
  }

  get token(): number {
    return this.lease?.token ?? 0
  }

  leave(): void {
    this.#leaving.resolve()
  }
}

/** Parties that come one after the other, each over a node of its own. */
async function arrive(on: LocksOn, hows: readonly ('read' | 'write')[]): Promise<Party[]> {
  const parties: Party[] = []
  for (const how of hows) {
    parties.push(new Party(on.node().readWrite('key'), how))
    await on.clock.advance(1)
  }
  return parties
}

function inside(parties: readonly Party[]): number[] {
  return parties.flatMap((party, index) => (party.isInside ? [index] : []))
}

async function leave(on: LocksOn, ...parties: readonly (Party | undefined)[]): Promise<void> {
  for (const party of parties) party?.leave()
  await on.clock.advance(0)
}

describe('a read-write lock', () => {
  test('lets readers in together, with the same token', async () => {
    const on = new LocksOn()
    const readers = await arrive(on, ['read', 'read', 'read'])
    expect(inside(readers)).toEqual([0, 1, 2])
    expect(new Set(readers.map(({ token }) => token)).size).toBe(1)
  })

  test('readers that come while others leave still have the same token', async () => {
    const on = new LocksOn()
    const [first, second] = await arrive(on, ['read', 'read'])
    await leave(on, first)
    const [third] = await arrive(on, ['read'])
    expect(third?.token).toBe(second?.token)
  })

  test('lets a writer in alone', async () => {
    const on = new LocksOn()
    const parties = await arrive(on, ['write', 'write', 'read'])
    expect(inside(parties)).toEqual([0])
    await leave(on, parties[0])
    expect(inside(parties)).toEqual([1])
    await leave(on, parties[1])
    expect(inside(parties)).toEqual([2])
  })

  test('lets a writer in when the last reader has left', async () => {
    const on = new LocksOn()
    const parties = await arrive(on, ['read', 'read', 'write'])
    await leave(on, parties[0])
    expect(inside(parties)).toEqual([1])
    await leave(on, parties[1])
    expect(inside(parties)).toEqual([2])
  })

  test('gives a writer a greater token than all before it, and readers after it a greater one again', async () => {
    const on = new LocksOn()
    const tokens: number[] = []
    for (const how of ['read', 'write', 'write', 'read', 'write'] as const) {
      const [party] = await arrive(on, [how])
      tokens.push(party?.token ?? 0)
      await leave(on, party)
    }
    expect(tokens.every((token, index) => token > (tokens[index - 1] ?? 0))).toBe(true)
  })

  test('a reader that comes after a waiting writer waits for it: readers cannot starve a writer', async () => {
    const on = new LocksOn()
    const parties = await arrive(on, ['read', 'write', 'read'])
    expect(inside(parties)).toEqual([0])
    await leave(on, parties[0])
    expect(inside(parties)).toEqual([1])
    await leave(on, parties[1])
    expect(inside(parties)).toEqual([2])
  })

  test('a writer that comes after a waiting reader waits for it: writers cannot starve a reader', async () => {
    const on = new LocksOn()
    const parties = await arrive(on, ['write', 'read', 'write'])
    await leave(on, parties[0])
    expect(inside(parties)).toEqual([1])
    await leave(on, parties[1])
    expect(inside(parties)).toEqual([2])
  })

  test('readers that wait side by side are let in together, up to the next writer', async () => {
    const on = new LocksOn()
    const parties = await arrive(on, ['write', 'read', 'read', 'read', 'write', 'read'])
    await leave(on, parties[0])
    expect(inside(parties)).toEqual([1, 2, 3])
    expect(new Set(parties.slice(1, 4).map(({ token }) => token)).size).toBe(1)
    await leave(on, ...parties.slice(1, 4))
    expect(inside(parties)).toEqual([4])
    await leave(on, parties[4])
    expect(inside(parties)).toEqual([5])
  })

  test('a writer who gives up lets the readers behind it in at once', async () => {
    const on = new LocksOn()
    const [reader] = await arrive(on, ['read'])
    const abort = new AbortController()
    const writing = watch(
      on.locks.readWrite('key').write(() => {}, { waitMs: 600_000, signal: abort.signal }),
    )
    await on.clock.advance(1)
    const [behind] = await arrive(on, ['read'])
    expect(behind?.isInside).toBe(false)
    abort.abort()
    await on.clock.advance(0)
    expect(writing.value).toMatchObject({ code: 'ABORTED' })
    expect([reader?.isInside, behind?.isInside]).toEqual([true, true])
  })

  test('a reader that is gone keeps the writer no longer than its lease', async () => {
    const on = new LocksOn()
    on.lock.sharedStore.acquire({
      key: 'readwrite:key',
      owner: 'dead',
      ttlMs: 1_000,
      waitMs: 0,
      mode: 'read',
      permits: 1,
    })
    const [writer] = await arrive(on, ['write'])
    await on.clock.advance(900)
    expect(writer?.isInside).toBe(false)
    await on.clock.advance(200)
    expect(writer?.isInside).toBe(true)
  })

  test('renews both kinds for as long as the routine runs, and resolves with what it returned', async () => {
    const on = new LocksOn()
    const lock = on.locks.readWrite('key')
    for (const how of ['read', 'write'] as const) {
      const party = new Party(lock, how, 900)
      await on.clock.advance(3_000)
      expect(party.lease?.held).toBe(true)
      await leave(on, party)
      expect(party.outcome.state).toBe('resolved')
    }
    expect(await lock.read(() => 'read')).toBe('read')
    expect(await lock.write(async () => 'written')).toBe('written')
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('tells its key, and refuses one that is none', () => {
    const { locks } = new LocksOn()
    expect(locks.readWrite('key').key).toBe('key')
    expect(() => locks.readWrite('')).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
  })
})

import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import type { CacheCase } from './cache-case.ts'
import { callMs } from './cache-world.ts'
import { claimOf, codeOf, far, Gate, later, longMs, range, refusal, renewedLeaseMs } from './caching.ts'

/** Values that are made when somebody asks for them. */
export const loadingCases: readonly CacheCase[] = [
  {
    name: 'of 1,000 calls for a cold key on one node one makes the value, and those after them find it',
    control: 'fill-stores-nothing',
    async run(world) {
      const [one, two] = await world.pair<number>(far)
      let runs = 0
      const make = (): number => (runs += 1)
      const first = await Promise.all(range(1, 1_000).map(() => one.getOrSet('key', make)))
      expect([runs, new Set(first)]).toEqual([1, new Set([1])])
      expect([await one.getOrSet('key', make), await two.getOrSet('key', make), runs]).toEqual([1, 1, 1])
    },
  },
  {
    name: 'of calls for a cold key on ten nodes one makes the value, and of calls for many keys one for each',
    control: 'grants-all',
    async run(world) {
      const nodes = await world.nodes(10)
      const runs = new Map<string, number>()
      const keys = ['one', ...range(1, 10).map((index) => `key ${index}`)]
      const calls = nodes.flatMap(({ cache }) => {
        const space = cache.namespace<string>('things', far)
        return keys.flatMap((key) =>
          range(1, key === 'one' ? 20 : 1).map(async () => {
            const value = await space.getOrSet(key, async () => {
              runs.set(key, (runs.get(key) ?? 0) + 1)
              await sleep(20)
              return `of ${key}`
            })
            return value === `of ${key}`
          }),
        )
      })
      expect(new Set(await Promise.all(calls))).toEqual(new Set([true]))
      expect(Object.fromEntries(runs)).toEqual(Object.fromEntries(keys.map((key) => [key, 1])))
    },
  },
  {
    name: 'a value whose maker died is made by another node when the lease is over',
    control: 'leases-never-end',
    async run(world) {
      const [below] = await world.spaces()
      const [one, two] = await world.pair<string>({ ...far, lockTimeoutMs: longMs })
      const startMs = performance.now()
      await below.claim(claimOf('key', { leaseMs: 300 }), callMs)
      let runs = 0
      const make = (): string => `made ${(runs += 1)}`
      const made = Promise.all([one.getOrSet('key', make), two.getOrSet('key', make)])
      expect(await world.soon('it is made', made)).toEqual(['made 1', 'made 1'])
      expect(performance.now() - startMs).toBeGreaterThanOrEqual(280)
    },
  },
  {
    name: 'who takes longer than a lease to make a value keeps it from the others',
    control: 'renew-does-nothing',
    async run(world) {
      const leaseMs = renewedLeaseMs(world)
      const [one, two] = await world.pair<string>({ ...far, leaseMs, lockTimeoutMs: longMs })
      let runs = 0
      const startMs = performance.now()
      const make = async (): Promise<string> => {
        runs += 1
        while (runs < 2 && performance.now() < startMs + 1.2 * leaseMs) await sleep(10)
        return 'value'
      }
      const first = later(one.getOrSet('key', make))
      await world.until('it is being made', () => runs === 1)
      expect([await two.getOrSet('key', make), await first]).toEqual(['value', 'value'])
      expect(runs).toBe(1)
    },
  },
  {
    name: 'a factory that fails fails for all who wait for it, and the next call makes the value at once',
    control: 'release-does-nothing',
    async run(world) {
      const [one, two] = await world.pair<string>({ ...far, leaseMs: longMs, lockTimeoutMs: longMs })
      const failure = new Error('the source is away')
      const gate = new Gate<Error>()
      const fail = async (): Promise<string> => Promise.reject(await gate.pass())
      const calls = range(1, 5).map(() => refusal(one.getOrSet('key', fail)))
      await world.until('it is being made', () => gate.arrivals === 1)
      gate.open(failure)
      expect(await Promise.all(calls)).toEqual(calls.map(() => failure))
      expect(gate.arrivals).toBe(1)
      expect(
        await world.soon(
          'the next makes it',
          two.getOrSet('key', () => 'value'),
        ),
      ).toBe('value')
    },
  },
  {
    name: 'null is a value, and undefined is none: it is returned and not stored',
    control: 'fill-stores-nothing',
    async run(world) {
      const [one, two] = await world.pair<string | null | undefined>({ ...far, leaseMs: longMs })
      let runs = 0
      const make = (value: null | undefined) => () => {
        runs += 1
        return value
      }
      expect(await one.getOrSet('null', make(null))).toBe(null)
      expect(await two.getOrSet('null', make(null))).toBe(null)
      expect([runs, await one.get('null'), await two.has('null')]).toEqual([1, null, true])
      expect(await one.getOrSet('none', make(undefined))).toBe(undefined)
      expect(await two.getOrSet('none', make(undefined))).toBe(undefined)
      expect([runs, await one.has('none')]).toEqual([3, false])
    },
  },
  {
    name: 'that there is nothing is known for negativeTtlMs, and what there is for as long as ever',
    control: 'ttl-is-ignored',
    async run(world) {
      const [one, two] = await world.pair<string | null>(far)
      const options = { negativeTtlMs: 100 }
      expect(await one.getOrSet('nothing', () => null, options)).toBe(null)
      await one.getOrSet('thing', () => 'thing', options)
      const found = async (): Promise<string | null> => two.getOrSet('nothing', () => 'found', options)
      await world.until('it is asked for again', async () => (await found()) === 'found')
      expect(await two.get('thing')).toBe('thing')
    },
  },
  {
    name: 'while a stale value is made anew it is served after softTimeoutMs, and the new one once it is there',
    control: 'grace-is-ignored',
    async run(world) {
      const [one, two] = await world.pair<string>({ ...far, graceMs: longMs })
      await one.set('key', 'old', { ttlMs: 50 })
      await world.until('it is stale', async () => (await two.get('key')) === undefined)
      const gate = new Gate<string>()
      const stale = two.getOrSet('key', gate.pass, { softTimeoutMs: 20 })
      expect(await world.soon('the stale one is served', stale)).toBe('old')
      // Another node has it while somebody makes it anew.
      const beside = one.getOrSet('key', gate.pass, { softTimeoutMs: 20 })
      expect(await world.soon('the stale one is served', beside)).toBe('old')
      gate.open('new')
      await world.until('the new one is there', async () => (await one.get('key')) === 'new')
      expect(gate.arrivals).toBe(1)
    },
  },
  {
    name: 'when the factory fails a stale value within its grace is served',
    control: 'grace-is-ignored',
    async run(world) {
      const [one, two] = await world.pair<string>({ ...far, graceMs: longMs })
      await one.set('key', 'old', { ttlMs: 50 })
      await world.until('it is stale', async () => (await two.get('key')) === undefined)
      const seen: unknown[] = []
      const made = two.getOrSet('key', async ({ stale }) => {
        seen.push(stale)
        throw new Error('the source is away')
      })
      expect(await made).toBe('old')
      expect(seen).toEqual(['old'])
      await two.delete('key')
      const failure = new Error('the source is still away')
      expect(await refusal(one.getOrSet('key', () => Promise.reject(failure)))).toBe(failure)
    },
  },
  {
    name: 'a factory is aborted after hardTimeoutMs, and the next call makes the value at once',
    control: 'release-does-nothing',
    async run(world) {
      const [one, two] = await world.pair<string>({ ...far, leaseMs: longMs, lockTimeoutMs: longMs })
      const heeding = ({ signal }: { readonly signal: AbortSignal }): Promise<string> =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason))
        })
      const late = refusal(one.getOrSet('key', heeding, { hardTimeoutMs: 100 }))
      expect(await world.soon('it is over', late)).toMatchObject({ code: 'TIMEOUT' })
      expect(
        await world.soon(
          'the next makes it',
          two.getOrSet('key', () => 'value'),
        ),
      ).toBe('value')
    },
  },
  {
    name: 'a factory that heeds no abort keeps the others waiting for no longer than its lease',
    control: 'leases-never-end',
    async run(world) {
      const [one, two] = await world.pair<string>({ ...far, leaseMs: 300, lockTimeoutMs: longMs })
      const deaf = (): Promise<string> => new Promise(() => {})
      expect(await codeOf(one.getOrSet('key', deaf, { hardTimeoutMs: 50 }))).toBe('TIMEOUT')
      expect(
        await world.soon(
          'the next makes it',
          two.getOrSet('key', () => 'value'),
        ),
      ).toBe('value')
    },
  },
  {
    name: 'what is deleted while it is made goes to who asked before, and is stored for nobody',
    control: 'delete-keeps-the-lease',
    async run(world) {
      const [one, two] = await world.pair<string>(far)
      const gate = new Gate<string>()
      const before = later(one.getOrSet('key', gate.pass))
      await world.until('it is being made', () => gate.arrivals === 1)
      await two.delete('key')
      const after = two.getOrSet('key', () => 'new')
      expect(await world.soon('the next makes it', after)).toBe('new')
      gate.open('old')
      expect(await before).toBe('old')
      expect(await Promise.all([one.get('key'), two.get('key')])).toEqual(['new', 'new'])
    },
  },
  {
    name: 'what a node deletes while it makes it itself is made again for who comes later',
    control: 'delete-keeps-the-lease',
    async run(world) {
      const [one] = await world.pair<string>(far)
      const gate = new Gate<string>()
      const before = later(one.getOrSet('key', gate.pass))
      await world.until('it is being made', () => gate.arrivals === 1)
      await one.delete('key')
      expect(
        await world.soon(
          'the next makes it',
          one.getOrSet('key', () => 'new'),
        ),
      ).toBe('new')
      gate.open('old')
      expect([await before, await one.get('key')]).toEqual(['old', 'new'])
    },
  },
  {
    name: 'what is set while it is made stays',
    control: 'set-keeps-the-lease',
    async run(world) {
      const [one, two] = await world.pair<string>(far)
      const gate = new Gate<string>()
      const before = later(one.getOrSet('key', gate.pass))
      await world.until('it is being made', () => gate.arrivals === 1)
      await two.set('key', 'set')
      gate.open('made')
      await before
      expect(await Promise.all([one.get('key'), two.get('key')])).toEqual(['set', 'set'])
    },
  },
]

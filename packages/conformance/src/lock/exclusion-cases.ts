import { expect } from 'vitest'
import type { LockCase } from './lock-case.ts'
import { callMs } from './lock-world.ts'

/** Keys that a careless key builder mixes up or moves to another slot. */
const awkwardKeys = [
  'a',
  'a ',
  'a}b',
  'a{b}',
  '{a}b',
  'a%7Db',
  'a:lease',
  'ä\u{1F512}',
  'x'.repeat(1_024),
  'a\nb',
]

/** Who gets the lock, and with which token. */
export const exclusionCases: readonly LockCase[] = [
  {
    name: 'a held lock is refused to others, on the same node and on another',
    control: 'grants-while-held',
    async run(world) {
      const [here, there] = [await world.locks(), await world.locks()]
      await using lease = await here.acquire('key')
      expect(lease.held).toBe(true)
      expect(await here.tryAcquire('key')).toBeNull()
      expect(await there.tryAcquire('key')).toBeNull()
    },
  },
  {
    name: 'sections of 4 nodes with 5 callers each never overlap',
    control: 'grants-while-held',
    async run(world) {
      const nodes = await Promise.all(Array.from({ length: 4 }, () => world.locks()))
      let inside = 0
      let most = 0
      let sections = 0
      const section = async (): Promise<void> => {
        inside += 1
        most = Math.max(most, inside)
        await new Promise(setImmediate)
        inside -= 1
        sections += 1
      }
      const callers = nodes.flatMap((locks) =>
        Array.from({ length: 5 }, () => locks.run('key', section, { waitMs: 15_000 })),
      )
      await Promise.all(callers)
      expect({ most, sections }).toEqual({ most: 1, sections: 20 })
    },
  },
  {
    name: 'keys of any characters are different locks',
    control: 'keys-collide',
    async run(world) {
      const locks = await world.locks()
      const leases = await Promise.all(awkwardKeys.map((key) => locks.tryAcquire(key)))
      expect(leases.map((lease) => lease?.key)).toEqual(awkwardKeys)
    },
  },
  {
    name: 'a released lock is free at once, for every node',
    control: 'release-does-nothing',
    async run(world) {
      const [here, there] = [await world.locks(), await world.locks()]
      const lease = await here.acquire('key')
      expect(await lease.release()).toBe('released')
      await using next = await there.tryAcquire('key')
      expect(next?.held).toBe(true)
    },
  },
  {
    name: 'every grant of a key has a greater token than all before it',
    control: 'token-repeats',
    async run(world) {
      const nodes = [await world.locks(), await world.locks()]
      const tokens: number[] = []
      for (let round = 0; round < 10; round += 1) {
        for (const locks of nodes) {
          await using lease = await locks.acquire('key')
          tokens.push(lease.token)
        }
      }
      expect(tokens.every((token) => Number.isSafeInteger(token))).toBe(true)
      expect(tokens).toEqual([...new Set(tokens)].sort((a, b) => a - b))
    },
  },
  {
    name: 'tokens go on growing after the server has lost its state',
    control: 'token-counts-from-one',
    skip: ({ faults }) => (faults.loseState === undefined ? 'the harness cannot lose state' : undefined),
    async run(world) {
      const locks = await world.locks()
      const before = await locks.acquire('key')
      await world.faults.loseState?.()
      const after = await locks.acquire('key')
      expect(after.token).toBeGreaterThan(before.token)
    },
  },
  {
    name: 'repeating a request as the same owner gives the same grant',
    control: 'repeat-is-refused',
    async run(world) {
      const driver = await world.driver()
      const request = { key: 'key', owner: world.owner(), ttlMs: 10_000, waitMs: 0 }
      const first = await driver.acquire(request, callMs)
      expect(first.status).toBe('granted')
      expect(await driver.acquire(request, callMs)).toEqual(first)
    },
  },
]

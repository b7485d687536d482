import { expect } from 'vitest'
import type { CacheClaimRequest, CacheSpace, ClaimReply, NewEntry } from '@multinode/core'
import type { CacheCase } from './cache-case.ts'
import { callMs, type CacheWorld } from './cache-world.ts'
import { claimOf, entry, longMs, range, renewedLeaseMs } from './caching.ts'

const shortMs = 200

/** A claim that nobody stands against. */
async function granted(
  space: CacheSpace,
  request: CacheClaimRequest,
): Promise<ClaimReply & { status: 'granted' }> {
  const reply = await space.claim(request, callMs)
  if (reply.status === 'granted') return reply
  throw new Error(`the claim of ${request.key} is ${reply.status}`)
}

/** The status of a claim by somebody else. */
async function statusOf(space: CacheSpace, key: string): Promise<ClaimReply['status']> {
  const { status } = await space.claim(claimOf(key, { leaseMs: 1 }), callMs)
  return status
}

async function textOf(space: CacheSpace, key: string): Promise<string | undefined> {
  const found = await space.get(key, callMs)
  return found?.data.toString()
}

/** Stored, and already stale. */
async function storeStale(world: CacheWorld, space: CacheSpace, stale: NewEntry): Promise<void> {
  await space.set([{ ...stale, ttlMs: 20, graceMs: longMs }], callMs)
  await world.until('it is stale', async () => {
    const found = await space.get(stale.key, callMs)
    return (found?.freshMs ?? 1) <= 0
  })
}

/** Who makes a value, and what becomes of it. */
export const claimCases: readonly CacheCase[] = [
  {
    name: 'of 40 claims at once on two nodes one is granted, and the others are told that it is busy',
    control: 'grants-all',
    async run(world) {
      const spaces = await world.spaces()
      const replies = await Promise.all(
        range(1, 20).flatMap(() => spaces.map((space) => space.claim(claimOf('key'), callMs))),
      )
      const statuses = replies.map(({ status }) => status).toSorted()
      expect(statuses).toEqual([...Array.from({ length: 39 }, () => 'busy'), 'granted'])
      expect(replies.every((reply) => reply.status === 'fresh' || reply.stale === undefined)).toBe(true)
    },
  },
  {
    name: 'what was filled is fresh for the next claim, and nothing is claimed then',
    control: 'claims-what-is-fresh',
    async run(world) {
      const [one, two] = await world.spaces()
      const claim = claimOf('key', { tags: ['a', 'b'] })
      const { snapshot } = await granted(one, claim)
      const made = entry('key', 'value', { ttlMs: 20_000, graceMs: 10_000, tags: ['a', 'b'] })
      expect(await one.fill(made, claim.owner, snapshot, callMs)).toBe('stored')
      const reply = await two.claim(claimOf('key'), callMs)
      expect(reply).toMatchObject({ status: 'fresh', entry: { data: Buffer.from('value') } })
      if (reply.status !== 'fresh') return
      expect(reply.entry.freshMs).toBeGreaterThan(0)
      expect(reply.entry.keptMs).toBeGreaterThan(reply.entry.freshMs + 9_900)
      expect(reply.entry.tags.toSorted()).toEqual(['a', 'b'])
      await one.delete(['key'], callMs)
      expect(await statusOf(two, 'key')).toBe('granted')
    },
  },
  {
    name: 'only who holds the lease fills, and once',
    control: 'fills-for-anybody',
    async run(world) {
      const [one, two] = await world.spaces()
      const claim = claimOf('key')
      const { snapshot } = await granted(one, claim)
      expect(await two.fill(entry('key', 'of another'), claimOf('key').owner, snapshot, callMs)).toBe(
        'refused',
      )
      expect(await textOf(two, 'key')).toBe(undefined)
      expect(await one.fill(entry('key', 'first'), claim.owner, snapshot, callMs)).toBe('stored')
      expect(await one.fill(entry('key', 'again'), claim.owner, snapshot, callMs)).toBe('refused')
      expect(await textOf(two, 'key')).toBe('first')
    },
  },
  {
    name: 'a lease that is released is free for the next one at once',
    control: 'release-does-nothing',
    async run(world) {
      const [one, two] = await world.spaces()
      const claim = claimOf('key')
      const { snapshot } = await granted(one, claim)
      await one.release('key', claim.owner, callMs)
      expect(await one.fill(entry('key', 'late'), claim.owner, snapshot, callMs)).toBe('refused')
      await granted(two, claimOf('key'))
    },
  },
  {
    name: 'nobody releases the lease of another',
    control: 'anybody-releases',
    async run(world) {
      const [one, two] = await world.spaces()
      const claim = claimOf('key')
      await granted(one, claim)
      await two.release('key', claimOf('key').owner, callMs)
      await two.release('missing', claim.owner, callMs)
      expect(await statusOf(two, 'key')).toBe('busy')
    },
  },
  {
    name: 'a lease that is renewed lasts from then on, and nobody renews that of another',
    control: 'renew-does-nothing',
    async run(world) {
      const [one, two] = await world.spaces()
      const leaseMs = renewedLeaseMs(world)
      const [claim, other] = [claimOf('key', { leaseMs }), claimOf('other', { leaseMs })]
      await granted(one, claim)
      expect(await two.renew('key', claimOf('key').owner, longMs, callMs)).toBe(false)
      expect(await one.renew('key', claim.owner, longMs, callMs)).toBe(true)
      await granted(one, other)
      await world.until('the other is over', async () => (await statusOf(two, 'other')) === 'granted')
      expect(await statusOf(two, 'key')).toBe('busy')
      expect(await one.renew('missing', claim.owner, longMs, callMs)).toBe(false)
    },
  },
  {
    name: 'the lease of who is gone ends after its time: the next one is granted, and the late one is refused',
    control: 'leases-never-end',
    async run(world) {
      const [one, two] = await world.spaces()
      const claim = claimOf('key', { leaseMs: shortMs })
      const startMs = performance.now()
      const { snapshot } = await granted(one, claim)
      const next = claimOf('key')
      let overMs = 0
      await world.until('it is over', async () => {
        const { status } = await two.claim(next, callMs)
        overMs = performance.now() - startMs
        return status === 'granted'
      })
      expect(overMs).toBeGreaterThanOrEqual(shortMs - 20)
      expect(await one.renew('key', claim.owner, longMs, callMs)).toBe(false)
      expect(await one.fill(entry('key', 'late'), claim.owner, snapshot, callMs)).toBe('refused')
      await one.release('key', claim.owner, callMs)
      expect(await statusOf(one, 'key')).toBe('busy')
    },
  },
  {
    name: 'a lease that is over is over for its holder too, though nobody else came',
    control: 'leases-never-end',
    async run(world) {
      const [one, two] = await world.spaces()
      const [claim, other] = [claimOf('key', { leaseMs: shortMs }), claimOf('other', { leaseMs: shortMs })]
      const { snapshot } = await granted(one, claim)
      await granted(one, other)
      await world.until('the other is over', async () => (await statusOf(two, 'other')) === 'granted')
      expect(await one.fill(entry('key', 'late'), claim.owner, snapshot, callMs)).toBe('refused')
      expect(await one.renew('key', claim.owner, longMs, callMs)).toBe(false)
      expect(await textOf(two, 'key')).toBe(undefined)
    },
  },
  {
    name: 'what is set ends the lease: what was being made is refused',
    control: 'set-keeps-the-lease',
    async run(world) {
      const [one, two] = await world.spaces()
      const claim = claimOf('key')
      const { snapshot } = await granted(one, claim)
      await two.set([entry('key', 'set')], callMs)
      expect(await one.fill(entry('key', 'made'), claim.owner, snapshot, callMs)).toBe('refused')
      expect(await one.renew('key', claim.owner, longMs, callMs)).toBe(false)
      expect(await textOf(one, 'key')).toBe('set')
    },
  },
  {
    name: 'a delete ends the lease: what was being made is refused, and the next one is granted',
    control: 'delete-keeps-the-lease',
    async run(world) {
      const [one, two] = await world.spaces()
      const claim = claimOf('key')
      const { snapshot } = await granted(one, claim)
      await two.delete(['key'], callMs)
      expect(await one.fill(entry('key', 'made'), claim.owner, snapshot, callMs)).toBe('refused')
      expect(await textOf(two, 'key')).toBe(undefined)
      await granted(two, claimOf('key'))
    },
  },
  {
    name: 'who claims what is stale gets the stale one, and so does who comes while it is made anew',
    control: 'claim-forgets-stale',
    async run(world) {
      const [one, two] = await world.spaces()
      await storeStale(world, one, entry('key', 'old', { tags: ['tag'] }))
      const claim = claimOf('key')
      const { snapshot, stale } = await granted(one, claim)
      expect(stale?.data.toString()).toBe('old')
      expect(stale?.freshMs).toBeLessThanOrEqual(0)
      const busy = await two.claim(claimOf('key'), callMs)
      expect(busy).toMatchObject({ status: 'busy', stale: { data: Buffer.from('old'), tags: ['tag'] } })
      expect(await one.fill(entry('key', 'new'), claim.owner, snapshot, callMs)).toBe('stored')
      expect(await textOf(two, 'key')).toBe('new')
    },
  },
  {
    name: 'what was stale and is invalidated is no longer served to claims',
    control: 'claims-serve-the-invalid',
    async run(world) {
      const [one, two] = await world.spaces()
      for (const key of ['deleted', 'tagged', 'cleared']) {
        await storeStale(world, one, entry(key, 'old', { tags: [key] }))
      }
      const stale = async (key: string): Promise<unknown> => (await granted(two, claimOf(key))).stale
      await one.delete(['deleted'], callMs)
      expect(await stale('deleted')).toBe(undefined)
      await one.invalidateTags(['tagged'], callMs)
      expect(await stale('tagged')).toBe(undefined)
      await one.clear(callMs)
      expect(await stale('cleared')).toBe(undefined)
    },
  },
]

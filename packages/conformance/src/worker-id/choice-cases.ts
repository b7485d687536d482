import { expect } from 'vitest'
import {
  askAnew,
  asking,
  backendIsPast,
  backendNow,
  giveBack,
  type Holding,
  longTerms,
  renew,
  shortTerms,
  take,
  takeLater,
} from './holding.ts'
import type { WorkerIdCase } from './worker-id-case.ts'

/** Which of the free ids is taken. */
export const choiceCases: readonly WorkerIdCase[] = [
  {
    name: 'an owner gets its id back after it released it, on another node too',
    control: 'forgets-owners',
    async run(world) {
      const [here, there] = [await world.workerIds(), await world.workerIds()]
      const options = { isFirstStart: true, ...longTerms }
      await here.acquire({ ...options, ownerKey: 'one', prefer: 3 })
      const lease = await here.acquire({ ...options, ownerKey: 'two', prefer: 7 })
      await lease.release()
      for (const workerIds of [there, here]) {
        const again = await workerIds.acquire({ ...options, ownerKey: 'two', prefer: 20 })
        expect(again.id).toBe(7)
        await again.release()
      }
    },
  },
  {
    name: 'owner keys that differ in one character get their own ids back',
    control: 'owner-keys-collide',
    async run(world) {
      const driver = await world.driver()
      const ownerKeys = ['a|b', 'a|c', 'a\nb', 'a\nc', '{a}', '{b}', '\u{1F511}', '\u{1F512}']
      const ask = (ownerKey: string): Promise<Holding> => take(driver, asking(world, { ownerKey }))
      const before: Holding[] = []
      for (const ownerKey of ownerKeys) before.push(await ask(ownerKey))
      for (const each of before) await giveBack(driver, each)
      for (const { id, request } of before.toReversed()) {
        expect((await ask(request.ownerKey)).id).toBe(id)
      }
    },
  },
  {
    name: 'an owner does not get its id while it is held, nor in the quarantine after its lease ran out',
    control: 'owner-takes-over',
    async run(world) {
      const driver = await world.driver()
      const asOwner = { ownerKey: world.ownerKey(), terms: { ...shortTerms, quarantineMs: 60_000 } }
      const first = await take(driver, asking(world, asOwner))
      const ids = [(await take(driver, asking(world, { ...asOwner, terms: longTerms }))).id]
      await backendIsPast(world, driver, first.untilMs)
      ids.push((await take(driver, asking(world, asOwner))).id)
      expect(ids).not.toContain(first.id)
    },
  },
  {
    name: 'an owner gets its id back when the quarantine is over',
    control: 'forgets-owners',
    async run(world) {
      const driver = await world.driver()
      const asOwner = { ownerKey: world.ownerKey(), terms: shortTerms }
      const first = await take(driver, asking(world, { ...asOwner, prefer: 5 }))
      await backendIsPast(world, driver, first.untilMs + shortTerms.quarantineMs + shortTerms.leaseMs)
      expect((await take(driver, asking(world, asOwner))).id).toBe(5)
    },
  },
  {
    name: 'the preferred id is taken when it is free',
    control: 'hint-is-ignored',
    async run(world) {
      const [here, there] = [await world.workerIds(), await world.workerIds()]
      const options = { isFirstStart: true, ...longTerms }
      const leases = [
        await here.acquire({ ...options, ownerKey: 'one', prefer: 17 }),
        await there.acquire({ ...options, ownerKey: 'two', prefer: 4 }),
      ]
      expect(leases.map(({ id }) => id)).toEqual([17, 4])
    },
  },
  {
    name: 'of those that prefer the same id at the same moment one gets it, and the others get others',
    control: 'hint-is-believed',
    async run(world) {
      const nodes = await Promise.all(Array.from({ length: 4 }, () => world.workerIds()))
      const options = { prefer: 9, isFirstStart: true, ...longTerms }
      const leases = await Promise.all(
        nodes.map((workerIds) => workerIds.acquire({ ...options, ownerKey: world.ownerKey() })),
      )
      const ids = leases.map(({ id }) => id)
      expect(new Set(ids).size).toBe(4)
      expect(ids).toContain(9)
    },
  },
  {
    name: 'a hint counts for nothing while its id is in quarantine',
    control: 'no-quarantine',
    async run(world) {
      const driver = await world.driver()
      const terms = { ...shortTerms, quarantineMs: 60_000 }
      const gone = await take(driver, asking(world, { prefer: 6, terms }))
      await backendIsPast(world, driver, gone.untilMs)
      const next = await take(driver, asking(world, { prefer: 6, terms }))
      expect(next.id).not.toBe(6)
    },
  },
  {
    name: 'ids that were never used are taken before used ones, and of these the one that is free for the longest time',
    control: 'reuses-the-last',
    async run(world) {
      const driver = await world.driver()
      const ask = (): ReturnType<typeof take> => take(driver, asking(world, { range: 4 }))
      const [zero, one, two] = [await ask(), await ask(), await ask()]
      await giveBack(driver, one)
      const { backendMs } = await renew(driver, two)
      await backendIsPast(world, driver, backendMs)
      await giveBack(driver, zero)
      const ids = [await ask(), await ask(), await ask()].map(({ id }) => id)
      expect(ids).toEqual([3, 1, 0])
    },
  },
  {
    name: 'an id that was released is free at once, for every node',
    control: 'release-does-nothing',
    async run(world) {
      const [here, there] = [await world.workerIds(), await world.workerIds()]
      const options = { range: 1, isFirstStart: true, waitMs: 0, ...longTerms }
      const lease = await here.acquire({ ...options, ownerKey: 'one' })
      await lease.release()
      expect(await there.holders()).toEqual([])
      const next = await there.acquire({ ...options, ownerKey: 'two' })
      expect(next.id).toBe(0)
    },
  },
  {
    name: 'who waits for an id gets it when one is released on another node',
    control: 'release-does-nothing',
    async run(world) {
      const [here, there] = [await world.workerIds(), await world.workerIds()]
      const options = { range: 1, isFirstStart: true, ...longTerms }
      const lease = await here.acquire({ ...options, ownerKey: 'one' })
      const waiting = there.acquire({ ...options, ownerKey: 'two', waitMs: 4_000 })
      await lease.release()
      expect((await waiting).id).toBe(0)
    },
  },
  {
    name: 'an empty backend gives an id at once to who says that this is the first start',
    control: 'first-start-is-ignored',
    async run(world) {
      const workerIds = await world.workerIds()
      const lease = await workerIds.acquire({ isFirstStart: true, waitMs: 0, ...longTerms })
      expect(lease.held).toBe(true)
    },
  },
  {
    name: 'an empty backend that may have forgotten gives nobody an id before what it may have granted is over',
    control: 'trusts-an-empty-backend',
    skip: ({ faults }) => (faults.loseState === undefined ? 'the harness cannot lose state' : undefined),
    async run(world) {
      const driver = await world.driver()
      const terms = { ...shortTerms, maxSkewMs: 600 }
      const request = asking(world, { terms, isFirstStart: false })
      const startedAtMs = await backendNow(world, driver)
      expect(await askAnew(driver, request)).toMatchObject({ status: 'exhausted' })
      const first = await takeLater(driver, request)
      const reachMs = terms.leaseMs + terms.maxAheadMs + terms.maxSkewMs
      expect(first.floorMs).toBeGreaterThan(startedAtMs + reachMs)
      expect(first.floorMs).toBeLessThanOrEqual(first.backendMs + terms.maxAheadMs)
    },
  },
]

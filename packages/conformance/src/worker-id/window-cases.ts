import { expect } from 'vitest'
import { asking, ceilingIsPast, giveBack, longTerms, renew, shortTerms, take, takeLater } from './holding.ts'
import type { WorkerIdCase } from './worker-id-case.ts'

/** The windows of timestamps, which never overlap. */
export const windowCases: readonly WorkerIdCase[] = [
  {
    name: 'a window reaches from its floor beyond the clock of its holder, but not a lease beyond what the backend allows',
    control: 'ceiling-is-unbounded',
    async run(world) {
      const driver = await world.driver()
      const terms = { ...longTerms, maxAheadMs: 1_000 }
      const reachMs = terms.leaseMs + terms.maxAheadMs
      for (const aheadMs of [-4_000, 0, 4_000]) {
        const nowMs = Date.now() + aheadMs
        const held = await take(driver, asking(world, { terms, nowMs }))
        expect(held.floorMs).toBeLessThanOrEqual(held.backendMs + terms.maxAheadMs)
        expect(held.ceilingMs).toBeGreaterThan(nowMs)
        expect(held.ceilingMs).toBeLessThanOrEqual(held.backendMs + reachMs)
        expect(held.untilMs).toBe(held.backendMs + terms.leaseMs)
      }
    },
  },
  {
    name: 'a renewal raises the ceiling, and leaves the floor',
    control: 'renew-does-nothing',
    async run(world) {
      const workerIds = await world.workerIds()
      const lease = await workerIds.acquire({ isFirstStart: true, ...longTerms, leaseMs: 600 })
      const window = lease.claim()
      const [floorMs, ceilingMs] = [window.floor(), window.ceiling()]
      await ceilingIsPast(window, ceilingMs + 600)
      expect(window.floor()).toBe(floorMs)
    },
  },
  {
    name: 'the ceiling stays bounded while a generator runs ahead as fast as it can',
    control: 'ceiling-is-unbounded',
    async run(world) {
      const driver = await world.driver()
      let held = await take(driver, asking(world))
      for (let round = 0; round < 10; round += 1) {
        const before = held
        held = await renew(driver, before, { usedMs: before.ceilingMs })
        const mostMs = held.backendMs + longTerms.leaseMs + longTerms.maxAheadMs
        expect(held.ceilingMs).toBeLessThanOrEqual(mostMs)
        expect(held.ceilingMs).toBeGreaterThanOrEqual(before.ceilingMs)
      }
      expect(held.ceilingMs).toBe(held.backendMs + longTerms.leaseMs + longTerms.maxAheadMs)
    },
  },
  {
    name: 'the ceiling never sinks, also when the clock of the holder is set back',
    control: 'ceiling-sinks',
    async run(world) {
      const driver = await world.driver()
      const first = await take(driver, asking(world))
      const ahead = await renew(driver, first, { usedMs: first.ceilingMs })
      expect(ahead.ceilingMs).toBeGreaterThan(first.ceilingMs)
      for (const nowMs of [Date.now() - 3_600_000, Date.now()]) {
        const later = await renew(driver, ahead, { nowMs })
        expect(later.ceilingMs).toBeGreaterThanOrEqual(ahead.ceilingMs)
      }
    },
  },
  {
    name: 'after a release the next window begins above what was used',
    control: 'floor-ignores-used',
    async run(world) {
      const [here, there] = [await world.workerIds(), await world.workerIds()]
      const options = { range: 1, isFirstStart: true, ...longTerms }
      let usedMs = -1
      for (const workerIds of [here, there, here]) {
        const lease = await workerIds.acquire({ ...options, ownerKey: world.ownerKey() })
        const window = lease.claim()
        expect(window.floor()).toBeGreaterThan(usedMs)
        usedMs = Math.max(window.floor(), Date.now()) + 100
        window.used(usedMs)
        await lease.release()
      }
    },
  },
  {
    name: 'a window that would begin far ahead is given to nobody before it is near enough',
    control: 'serves-any-floor',
    async run(world) {
      const driver = await world.driver()
      const terms = { ...shortTerms, leaseMs: 600 }
      const first = await take(driver, asking(world, { range: 1, terms }))
      const far = await renew(driver, first, { usedMs: first.ceilingMs })
      await giveBack(driver, far, far.ceilingMs)
      const next = await takeLater(driver, asking(world, { range: 1, terms }))
      expect(next.floorMs).toBeGreaterThan(far.ceilingMs)
      expect(next.floorMs).toBeLessThanOrEqual(next.backendMs + terms.maxAheadMs)
    },
  },
  {
    name: 'an id whose lease ran out is given to nobody until its quarantine is over',
    control: 'no-quarantine',
    async run(world) {
      const driver = await world.driver()
      // So long that somebody who gets the id too soon is seen to, though the machine stands still for a moment.
      const terms = { ...shortTerms, quarantineMs: 2_000 }
      const gone = await take(driver, asking(world, { range: 1, terms }))
      const next = await takeLater(driver, asking(world, { range: 1, terms }))
      expect(next.backendMs).toBeGreaterThanOrEqual(gone.untilMs + terms.quarantineMs)
    },
  },
  {
    name: 'windows of one id never overlap, whether their holders release, run ahead, or are gone',
    control: 'floors-overlap',
    async run(world) {
      const driver = await world.driver()
      const request = (): ReturnType<typeof asking> => asking(world, { range: 1, terms: shortTerms })
      let highestMs = -1
      for (const how of ['released', 'gone', 'ran ahead', 'released', 'gone ahead', 'released']) {
        let held = await takeLater(driver, request())
        expect(held.floorMs).toBeGreaterThan(highestMs)
        if (how.includes('ahead')) held = await renew(driver, held, { usedMs: held.ceilingMs })
        highestMs = how === 'released' ? held.floorMs + 10 : held.ceilingMs
        if (!how.startsWith('gone')) await giveBack(driver, held, highestMs)
      }
    },
  },
]

import { expect } from 'vitest'
import {
  asking,
  askRenewal,
  backendIsPast,
  giveBack,
  longTerms,
  renew,
  shortTerms,
  take,
  takeLater,
} from './holding.ts'
import type { WorkerIdCase } from './worker-id-case.ts'
import { callMs } from './worker-id-world.ts'

/** How leases of ids are renewed, run out, and end. */
export const leaseCases: readonly WorkerIdCase[] = [
  {
    name: 'a renewed lease outlives its first end',
    control: 'renew-does-nothing',
    async run(world) {
      const driver = await world.driver()
      const first = await take(driver, asking(world, { range: 1, terms: shortTerms }))
      const renewed = await renew(driver, first, { terms: longTerms })
      expect(renewed.untilMs).toBe(renewed.backendMs + longTerms.leaseMs)
      await backendIsPast(world, driver, first.ceilingMs + shortTerms.quarantineMs)
      const reply = await driver.acquire(asking(world, { range: 1, terms: shortTerms }), callMs)
      expect(reply.status).toBe('exhausted')
    },
  },
  {
    name: 'a lease that ran out goes on with its id and its window while nobody else had it',
    control: 'expiry-is-final',
    async run(world) {
      const driver = await world.driver()
      const first = await take(driver, asking(world, { terms: shortTerms }))
      await backendIsPast(world, driver, first.untilMs + shortTerms.quarantineMs)
      const again = await renew(driver, first, { terms: longTerms })
      expect(again.floorMs).toBe(first.floorMs)
      expect(again.ceilingMs).toBeGreaterThan(first.ceilingMs)
      expect(await driver.holders(callMs)).toMatchObject([{ id: first.id, state: 'held' }])
    },
  },
  {
    name: 'who comes back after another had the id is told that it is lost, and changes nothing',
    control: 'never-says-lost',
    async run(world) {
      const driver = await world.driver()
      const gone = await take(driver, asking(world, { range: 1, terms: shortTerms }))
      const next = await takeLater(driver, asking(world, { range: 1, terms: shortTerms }))
      await giveBack(driver, await renew(driver, next, { terms: longTerms }))
      expect(await askRenewal(driver, gone)).toEqual({ status: 'lost' })
      const { id, request } = gone
      const released = await driver.release({ id, token: request.token, usedMs: gone.floorMs }, callMs)
      expect(released).toBe('not-owner')
    },
  },
  {
    name: 'renewal and release with the token of another change nothing',
    control: 'ignores-tokens',
    async run(world) {
      const driver = await world.driver()
      const held = await take(driver, asking(world, { range: 1 }))
      const stranger = { ...held, request: asking(world) }
      expect(await askRenewal(driver, stranger)).toEqual({ status: 'lost' })
      const { id, request } = stranger
      expect(await driver.release({ id, token: request.token, usedMs: 1 }, callMs)).toBe('not-owner')
      const [holder] = await driver.holders(callMs)
      expect(holder).toEqual({
        id: 0,
        ownerKey: held.request.ownerKey,
        state: 'held',
        sinceMs: held.backendMs,
        untilMs: held.untilMs,
      })
      await renew(driver, held)
    },
  },
  {
    name: 'a release that is repeated says that the id is not its own any more',
    control: 'release-does-nothing',
    async run(world) {
      const driver = await world.driver()
      const held = await take(driver, asking(world))
      await giveBack(driver, held)
      const { id, request } = held
      expect(await driver.release({ id, token: request.token, usedMs: 1 }, callMs)).toBe('not-owner')
      expect(await askRenewal(driver, held)).toEqual({ status: 'lost' })
    },
  },
  {
    name: 'holders lists in ascending order who holds an id and which ids are in quarantine, since when and until when',
    control: 'holders-says-held',
    async run(world) {
      const driver = await world.driver()
      const terms = { ...shortTerms, quarantineMs: 60_000 }
      const held = await take(driver, asking(world, { prefer: 9 }))
      const gone = await take(driver, asking(world, { prefer: 2, terms }))
      const released = await take(driver, asking(world, { prefer: 4 }))
      await giveBack(driver, released)
      await backendIsPast(world, driver, gone.untilMs)
      const renewed = await renew(driver, held)
      expect(await driver.holders(callMs)).toEqual([
        {
          id: 2,
          ownerKey: gone.request.ownerKey,
          state: 'quarantined',
          sinceMs: gone.backendMs,
          untilMs: gone.untilMs + terms.quarantineMs,
        },
        {
          id: 9,
          ownerKey: held.request.ownerKey,
          state: 'held',
          sinceMs: held.backendMs,
          untilMs: renewed.untilMs,
        },
      ])
    },
  },
  {
    name: 'an id is in no list when its quarantine is over',
    control: 'holders-never-forgets',
    async run(world) {
      const driver = await world.driver()
      const gone = await take(driver, asking(world, { terms: shortTerms }))
      await backendIsPast(world, driver, gone.untilMs + shortTerms.quarantineMs)
      expect(await driver.holders(callMs)).toEqual([])
    },
  },
]

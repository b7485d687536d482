import type { WorkerIdDriver, WorkerIdReply } from '@multinode/core'
import { expect } from 'vitest'
import { untilReply } from '../lock/waiting.ts'
import {
  askAnew,
  asking,
  askRenewal,
  backendIsPast,
  type Holding,
  longTerms,
  renew,
  renewLater,
  shortTerms,
  take,
  takeLater,
} from './holding.ts'
import type { WorkerIdCase } from './worker-id-case.ts'
import { callMs, type WorkerIdWorld } from './worker-id-world.ts'

/** Newcomers wait for a lease and the skew, so this one is short here too. */
const terms = { ...shortTerms, maxSkewMs: 600 }

const isFirstStart = false

function cannotLose({ faults }: WorkerIdWorld): string | undefined {
  return faults.loseState === undefined ? 'the harness cannot lose state' : undefined
}

/** A holder that used all it may, of which the backend then lost the record. */
async function forgotten(world: WorkerIdWorld, driver: WorkerIdDriver): Promise<Holding> {
  const first = await take(driver, asking(world, { range: 1, terms: { ...terms, maxSkewMs: 10_000 } }))
  const held = await renew(driver, first, { usedMs: first.ceilingMs })
  await world.faults.loseState?.()
  return { ...held, request: { ...held.request, terms } }
}

/** What happens when the backend forgot what it granted. */
export const lostStateCases: readonly WorkerIdCase[] = [
  {
    name: 'holders keep their ids after the backend lost its state, and their windows go on without a jump',
    control: 'loss-is-final',
    isAlone: true,
    skip: cannotLose,
    async run(world) {
      const nodes = [await world.driver(), await world.driver()]
      const before: { driver: WorkerIdDriver; held: Holding }[] = []
      for (const driver of nodes) {
        before.push({ driver, held: await take(driver, asking(world)) })
      }
      await world.faults.loseState?.()
      for (const { driver, held } of before) {
        const after = await renew(driver, held)
        expect(after.floorMs).toBe(held.floorMs)
        expect(after.ceilingMs).toBeGreaterThanOrEqual(held.ceilingMs)
        expect(after.untilMs).toBe(after.backendMs + longTerms.leaseMs)
      }
      const holders = await nodes[0]?.holders(callMs)
      expect(holders?.map(({ id, ownerKey }) => ({ id, ownerKey }))).toEqual(
        before.map(({ held: { id, request } }) => ({ id, ownerKey: request.ownerKey })),
      )
    },
  },
  {
    name: 'newcomers wait after the backend lost its state, and begin above all that it can have granted',
    control: 'trusts-an-empty-backend',
    isAlone: true,
    skip: cannotLose,
    async run(world) {
      const driver = await world.driver()
      const gone = await forgotten(world, driver)
      const newcomer = asking(world, { range: 1, terms, isFirstStart })
      const reply = await askAnew(driver, newcomer)
      expect(reply.status).toBe('exhausted')
      const retryAfterMs = reply.status === 'exhausted' ? reply.retryAfterMs : 0
      expect(retryAfterMs).toBeLessThanOrEqual(terms.leaseMs + terms.maxSkewMs + 1)
      const next = await takeLater(driver, newcomer)
      expect(next.floorMs).toBeGreaterThan(gone.ceilingMs)
      expect(next.backendMs).toBeGreaterThan(gone.untilMs)
      expect(next.floorMs).toBeLessThanOrEqual(next.backendMs + terms.maxAheadMs)
    },
  },
  {
    name: 'newcomers after a loss get none of the ids that their holders renewed meanwhile',
    control: 'loss-is-final',
    isAlone: true,
    skip: cannotLose,
    async run(world) {
      const driver = await world.driver()
      // So long that its holder renews it in time on a machine that stands still for a moment, and in quarantine for longer than anybody looks.
      const renewable = { ...terms, leaseMs: 2_400, quarantineMs: 20_000, maxSkewMs: 500 }
      const first = await take(driver, asking(world, { terms: { ...renewable, maxSkewMs: 10_000 } }))
      let held = { ...first, request: { ...first.request, terms: renewable } }
      await world.faults.loseState?.()
      const newcomer = asking(world, { range: 2, prefer: held.id, terms: renewable, isFirstStart })
      const ask = async (): Promise<WorkerIdReply> => {
        held = await renew(driver, held)
        return driver.acquire({ ...newcomer, nowMs: Date.now() }, callMs)
      }
      const reply = await untilReply(ask, ({ status }) => status === 'granted')
      expect(reply).toMatchObject({ status: 'granted', id: 1 - held.id })
    },
  },
  {
    name: 'a holder that comes back only after its claim ran out gets a new window, as late as anybody',
    control: 'claims-never-end',
    isAlone: true,
    skip: cannotLose,
    async run(world) {
      const driver = await world.driver()
      const gone = await forgotten(world, driver)
      await backendIsPast(world, driver, gone.untilMs)
      const reply = await askRenewal(driver, gone)
      expect(reply).toMatchObject({ status: 'later' })
      expect(reply.status === 'later' ? reply.retryAfterMs : 0).toBeGreaterThan(0)
      const again = await renewLater(driver, gone)
      expect(again.floorMs).toBeGreaterThan(gone.ceilingMs)
      expect(again.ceilingMs).toBeGreaterThanOrEqual(again.floorMs)
      expect(await driver.holders(callMs)).toMatchObject([{ id: gone.id, ownerKey: gone.request.ownerKey }])
    },
  },
  {
    name: 'a holder that comes back after another got its id is told that it is lost',
    control: 'never-says-lost',
    isAlone: true,
    skip: cannotLose,
    async run(world) {
      const driver = await world.driver()
      const gone = await forgotten(world, driver)
      const next = await takeLater(driver, asking(world, { range: 1, terms, isFirstStart }))
      expect(next.floorMs).toBeGreaterThan(gone.ceilingMs)
      expect(await askRenewal(driver, gone)).toEqual({ status: 'lost' })
    },
  },
]

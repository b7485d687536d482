import { expect } from 'vitest'
import { refusal } from '../refusal.ts'
import { asking, longTerms, take } from './holding.ts'
import type { WorkerIdCase } from './worker-id-case.ts'
import { callMs } from './worker-id-world.ts'

/** Owner keys that a careless format mixes up. */
const awkwardKeys = [
  'a',
  'a ',
  ' a',
  'A',
  'a|b',
  'a|0|1|2|3|4|5|6|b',
  '|',
  'a\nb',
  'a\r\n',
  '{a}',
  'a%7Db',
  'a\0b',
  'ä\u{1F512}',
  'x'.repeat(1_024),
  `${'x'.repeat(1_023)}y`,
]

/** Who gets an id, and who gets none. */
export const exclusionCases: readonly WorkerIdCase[] = [
  {
    name: 'many that ask at the same moment, on several nodes, get an id each, and no two the same',
    control: 'same-id-for-all',
    async run(world) {
      const nodes = await Promise.all(Array.from({ length: 4 }, () => world.workerIds()))
      const acquisitions = nodes.flatMap((workerIds) =>
        Array.from({ length: 8 }, () =>
          workerIds.acquire({ range: 32, ownerKey: world.ownerKey(), isFirstStart: true, ...longTerms }),
        ),
      )
      const ids = (await Promise.all(acquisitions)).map(({ id }) => id)
      expect(ids.sort((a, b) => a - b)).toEqual(Array.from({ length: 32 }, (_, id) => id))
    },
  },
  {
    name: 'ids are within the range, and there are no more of them',
    control: 'ignores-range',
    async run(world) {
      const driver = await world.driver()
      const ask = async (): Promise<number | string> => {
        const reply = await driver.acquire(asking(world, { range: 5 }), callMs)
        return reply.status === 'granted' ? reply.id : reply.status
      }
      const outcomes = await Promise.all(Array.from({ length: 8 }, ask))
      expect(new Set(outcomes)).toEqual(new Set([0, 1, 2, 3, 4, 'exhausted']))
      expect(outcomes.filter((outcome) => outcome === 'exhausted')).toHaveLength(3)
    },
  },
  {
    name: 'when all ids are taken, the answer says when one is free at the earliest, and who has them',
    control: 'retry-after-is-wrong',
    async run(world) {
      const [here, there] = [await world.workerIds(), await world.workerIds()]
      const options = { range: 2, isFirstStart: true, waitMs: 0, ...longTerms }
      await here.acquire({ ...options, ownerKey: 'one', prefer: 0 })
      await here.acquire({ ...options, ownerKey: 'two', prefer: 1 })
      const error: unknown = await there.acquire({ ...options, ownerKey: 'three' }).catch((cause) => cause)
      const holders = [
        { id: 0, ownerKey: 'one', state: 'held' },
        { id: 1, ownerKey: 'two', state: 'held' },
      ]
      expect(error).toMatchObject({ code: 'EXHAUSTED', retryable: true, details: { range: 2, holders } })
      const reply = await (await world.driver()).acquire(asking(world, { range: 2 }), callMs)
      const retryAfterMs = reply.status === 'exhausted' ? reply.retryAfterMs : 0
      expect(retryAfterMs).toBeGreaterThan(longTerms.leaseMs)
      expect(retryAfterMs).toBeLessThanOrEqual(longTerms.leaseMs + longTerms.quarantineMs)
    },
  },
  {
    name: 'a request that is repeated with its token gets the same id, and a window that only grows',
    control: 'repeat-is-new',
    async run(world) {
      const [here, there] = [await world.driver(), await world.driver()]
      const request = asking(world)
      const first = await take(here, request)
      for (const driver of [here, there]) {
        const again = await take(driver, { ...request, nowMs: Date.now() })
        expect({ id: again.id, floorMs: again.floorMs }).toEqual({ id: first.id, floorMs: first.floorMs })
        expect(again.ceilingMs).toBeGreaterThanOrEqual(first.ceilingMs)
        expect(again.untilMs).toBeGreaterThanOrEqual(first.untilMs)
      }
      expect(await here.holders(callMs)).toHaveLength(1)
    },
  },
  {
    name: 'owner keys of any characters are kept as they are',
    control: 'owner-keys-collide',
    async run(world) {
      const driver = await world.driver()
      for (const ownerKey of awkwardKeys) await take(driver, asking(world, { ownerKey }))
      const holders = await driver.holders(callMs)
      expect(holders.map(({ ownerKey }) => ownerKey)).toEqual(awkwardKeys)
    },
  },
  {
    name: 'clusters of different names are apart',
    control: 'clusters-meet',
    async run(world) {
      const [here, there] = [await world.driver(), await world.driver('-2')]
      const one = await take(here, asking(world, { range: 1, ownerKey: 'one' }))
      const two = await take(there, asking(world, { range: 1, ownerKey: 'two' }))
      expect([one.id, two.id]).toEqual([0, 0])
      expect(await here.holders(callMs)).toMatchObject([{ ownerKey: 'one' }])
      expect(await there.holders(callMs)).toMatchObject([{ ownerKey: 'two' }])
    },
  },
  {
    name: 'a node whose clock is wrong in either direction gets no id, and is told the time of the backend',
    control: 'accepts-any-clock',
    async run(world) {
      const driver = await world.driver()
      for (const aheadMs of [-3_600_000, 3_600_000]) {
        const node = await world.workerIds({ aheadMs })
        expect(await refusal(node.acquire({ isFirstStart: true, ...longTerms }))).toMatchObject({
          code: 'CLOCK_SKEW',
          details: { maxSkewMs: longTerms.maxSkewMs },
        })
        const request = asking(world, { nowMs: Date.now() + aheadMs })
        const reply = await driver.acquire(request, callMs)
        const backendMs = reply.status === 'skewed' ? reply.backendMs : 0
        expect(Math.abs(backendMs - Date.now())).toBeLessThan(600_000)
      }
      expect(await driver.holders(callMs)).toEqual([])
    },
  },
]

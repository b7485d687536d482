import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { watchOwnLateness, withOwnLateness } from '../src/index.ts'

/** As when the process does not come to its turn. */
function standStill(ms: number): void {
  const untilMs = performance.now() + ms
  while (performance.now() < untilMs);
}

it('tells for how long the process stood still, also when the work ends with that', async () => {
  const atItsEnd = await withOwnLateness(async () => standStill(100))
  expect(atItsEnd.sumMs).toBeGreaterThan(80)
  const within = await withOwnLateness(async () => {
    await sleep(20)
    standStill(100)
    await sleep(20)
    return 'done'
  })
  expect(within.result).toBe('done')
  expect(within.sumMs).toBeGreaterThan(80)
})

it('tells a process for how long it stood still itself, up to now', async () => {
  const lateMs = watchOwnLateness()
  standStill(100)
  expect(lateMs()).toBeGreaterThan(80)
  await sleep(20)
  standStill(100)
  expect(lateMs()).toBeGreaterThan(160)
})

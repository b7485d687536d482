import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { watchOwnLateness, withLateness, withOwnLateness } from '../src/index.ts'
import { ownLateness } from '../src/lateness.ts'
import { standStill } from './stand-still.ts'

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

it('does not excuse what a process computed itself', () => {
  const lateMs = ownLateness()
  const beginMs = performance.now()
  const begin = process.threadCpuUsage()
  while (process.threadCpuUsage(begin).user < 300_000);
  expect(lateMs()).toBeLessThan(performance.now() - beginMs - 290)
})

it('tells of the error of the work, also where the server does not answer', async () => {
  const failing = withLateness(
    () => Promise.reject(new Error('no answer')),
    async () => {
      await sleep(50)
      throw new Error('the work')
    },
  )
  await expect(failing).rejects.toThrow('the work')
})

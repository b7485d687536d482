import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { settledWithin } from '../src/settled-within.ts'

function standStill(ms: number): void {
  const untilMs = performance.now() + ms
  while (performance.now() < untilMs);
}

test('tells what a call came to, and one that hangs', async () => {
  const failure = new Error('away')
  expect(await settledWithin(1_000, Promise.resolve('value'))).toBe('value')
  expect(await settledWithin(1_000, Promise.reject(failure))).toBe(failure)
  expect(await settledWithin(50, new Promise(() => {}))).toBe('pending')
})

test('a call does not hang while the process stands still', async () => {
  const call = async (): Promise<string> => {
    await sleep(10)
    await sleep(10)
    return 'value'
  }
  const settled = settledWithin(400, call())
  standStill(500)
  expect(await settled).toBe('value')
})

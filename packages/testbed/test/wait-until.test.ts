import { expect, it } from 'vitest'
import { waitUntil } from '../src/index.ts'

it('returns the first truthy value of the probe', async () => {
  let calls = 0
  expect(await waitUntil('three calls', () => ++calls === 3 && calls, { everyMs: 1 })).toBe(3)
})

it('asks again after a probe that throws', async () => {
  const answers = [() => Promise.reject(new Error('not yet')), () => Promise.resolve('there')]
  expect(await waitUntil('an answer', async () => await answers.shift()?.(), { everyMs: 1 })).toBe('there')
})

it('names what it waited for and the last error when the deadline is over', async () => {
  const probe = () => {
    throw new Error('still closed')
  }
  await expect(waitUntil('the door', probe, { deadlineMs: 30, everyMs: 5 })).rejects.toThrow(
    'waited 30 ms for the door; last error: still closed',
  )
})

it('keeps its deadline when the probe never answers', async () => {
  await expect(waitUntil('a word', () => new Promise(() => {}), { deadlineMs: 30 })).rejects.toThrow(
    'waited 30 ms for a word',
  )
})

import { describe, expect, test } from 'vitest'
import { MultinodeError } from '../../src/index.ts'
import { callUntyped } from '../support/call-untyped.ts'
import { failureOf } from '../support/outcome.ts'
import { PubSubOn } from './pubsub-on.ts'

/** One that has joined, and what its listener was told. */
async function joined(): Promise<{
  readonly on: PubSubOn
  readonly told: boolean[]
  readonly off: () => void
}> {
  const on = new PubSubOn()
  await on.clock.advance(0)
  const told: boolean[] = []
  const off = on.pubsub.onHearing((isHearing) => told.push(isHearing))
  return { on, told, off }
}

describe('whether signals reach this node', () => {
  test('they do not until it has joined', async () => {
    const gone = new MultinodeError('UNAVAILABLE', 'gone', { capability: 'pubsub' })
    const on = new PubSubOn({ join: () => Promise.reject(gone) })
    const told: boolean[] = []
    on.pubsub.onHearing((isHearing) => told.push(isHearing))
    await on.clock.advance(3_000)
    expect([on.pubsub.isHearing, told]).toEqual([false, []])
    delete on.answers.join
    await on.clock.advance(1_000)
    expect([on.pubsub.isHearing, told]).toEqual([true, [true]])
  })

  test('they do when it has joined and the driver says nothing', async () => {
    const { on, told } = await joined()
    expect([on.pubsub.isHearing, told]).toEqual([true, []])
  })

  test('the driver says it while it joins', async () => {
    const on = new PubSubOn({ join: async (receiver) => receiver.hearing(false) })
    await on.clock.advance(0)
    expect(on.pubsub.isHearing).toBe(false)
    on.receiver.hearing(true)
    expect(on.pubsub.isHearing).toBe(true)
  })

  test('each change is told once', async () => {
    const { on, told } = await joined()
    for (const isHearing of [true, false, false, true, true]) on.receiver.hearing(isHearing)
    expect(told).toEqual([false, true])
    expect(on.pubsub.isIsolated).toBe(false)
  })

  test('they do not while this node is isolated, whatever the driver reads', async () => {
    const { on, told } = await joined()
    on.receiver.isolated(true)
    on.receiver.hearing(false)
    on.receiver.hearing(true)
    expect([on.pubsub.isHearing, told]).toEqual([false, [false]])
    on.receiver.isolated(false)
    expect([on.pubsub.isHearing, told]).toEqual([true, [false, true]])
  })

  test('a listener that was taken off is told nothing', async () => {
    const { on, told, off } = await joined()
    off()
    off()
    on.receiver.hearing(false)
    expect(told).toEqual([])
  })

  test('a listener that throws is reported, and the others are told all the same', async () => {
    const on = new PubSubOn()
    await on.clock.advance(0)
    const failure = new Error('a defect of the app')
    const told: boolean[] = []
    on.pubsub.onHearing(() => {
      throw failure
    })
    on.pubsub.onHearing((isHearing) => told.push(isHearing))
    on.receiver.hearing(false)
    expect([told, on.reported]).toEqual([[false], [failure]])
  })

  test('a listener that is no function is refused', async () => {
    const error = await failureOf(() => callUntyped(new PubSubOn().pubsub, 'onHearing', ['me']))
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', details: { name: 'listener' } })
  })
})

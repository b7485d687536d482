import { describe, expect, test } from 'vitest'
import { MultinodeError, type NodesChange } from '../../src/index.ts'
import { callUntyped } from '../support/call-untyped.ts'
import { failureOf } from '../support/outcome.ts'
import { member, PubSubOn } from './pubsub-on.ts'

describe('the nodes that are there', () => {
  test('are none until the backend has said so', () => {
    expect(new PubSubOn().pubsub.nodes()).toEqual([])
  })

  test('are what the backend said last, and listeners hear who came and who went', async () => {
    const on = new PubSubOn()
    await on.clock.advance(0)
    const changes: NodesChange[] = []
    on.pubsub.onNodes((change) => changes.push(change))
    const [a, b, c] = [member('a', '1'), member('b', '2'), member('c', '3')]
    on.receiver.members([a, b])
    on.receiver.members([b, c])
    expect(on.pubsub.nodes()).toEqual([b, c])
    expect(changes).toEqual([
      { nodes: [a, b], joined: [a, b], left: [], isIsolated: false },
      { nodes: [b, c], joined: [c], left: [a], isIsolated: false },
    ])
  })

  test('a node that started again went and came', async () => {
    const on = new PubSubOn()
    await on.clock.advance(0)
    on.receiver.members([member('a', '1')])
    const changes: NodesChange[] = []
    on.pubsub.onNodes((change) => changes.push(change))
    on.receiver.members([member('a', '2')])
    expect(changes).toMatchObject([{ joined: [{ incarnation: '2' }], left: [{ incarnation: '1' }] }])
  })

  test('are told once, and not again when nothing changed', async () => {
    const on = new PubSubOn()
    await on.clock.advance(0)
    const changes: NodesChange[] = []
    on.pubsub.onNodes((change) => changes.push(change))
    on.receiver.members([member('a', '1')])
    on.receiver.members([member('a', '1')])
    expect(changes).toHaveLength(1)
  })

  test('this one is told when it is isolated and when it is not any more, each once', async () => {
    const on = new PubSubOn()
    await on.clock.advance(0)
    on.receiver.members([member('a', '1')])
    const changes: NodesChange[] = []
    on.pubsub.onNodes((change) => changes.push(change))
    for (const isIsolated of [false, true, true, false, false]) on.receiver.isolated(isIsolated)
    expect(changes.map(({ isIsolated }) => isIsolated)).toEqual([true, false])
    expect(changes[0]).toMatchObject({ nodes: [{ nodeId: 'a' }], joined: [], left: [] })
  })

  test('this one is told that it is isolated when it could not join, and that it is not when it could', async () => {
    const gone = new MultinodeError('UNAVAILABLE', 'gone', { capability: 'pubsub' })
    const on = new PubSubOn({ join: () => Promise.reject(gone) })
    const told: boolean[] = []
    on.pubsub.onNodes(({ isIsolated }) => told.push(isIsolated))
    await on.clock.advance(3_000)
    expect(told).toEqual([true])
    delete on.answers.join
    await on.clock.advance(1_000)
    expect(told).toEqual([true, false])
  })

  test('are not told to a listener that was taken off', async () => {
    const on = new PubSubOn()
    await on.clock.advance(0)
    const changes: NodesChange[] = []
    const off = on.pubsub.onNodes((change) => changes.push(change))
    off()
    off()
    on.receiver.members([member('a', '1')])
    expect(changes).toEqual([])
  })

  test('a listener that throws is reported, and the others hear all the same', async () => {
    const on = new PubSubOn()
    await on.clock.advance(0)
    const changes: NodesChange[] = []
    const failure = new Error('a defect of the app')
    on.pubsub.onNodes(() => {
      throw failure
    })
    on.pubsub.onNodes((change) => changes.push(change))
    on.receiver.members([member('a', '1')])
    expect(changes).toHaveLength(1)
    expect(on.reported).toEqual([failure])
  })

  test('a listener that is no function is refused', async () => {
    const error = await failureOf(() => callUntyped(new PubSubOn().pubsub, 'onNodes', ['me']))
    expect(error).toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { name: 'listener' },
      message: expect.stringContaining('listener is "me"'),
    })
  })
})

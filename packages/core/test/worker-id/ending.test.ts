import { describe, expect, test } from 'vitest'
import { watch } from '../support/outcome.ts'
import { away, WorkerIdsOn } from './worker-ids-on.ts'

describe.each(['drain', 'close'] as const)('%s of worker ids', (end) => {
  test('gives every id back, with what was used, and leaves nothing behind', async () => {
    const on = new WorkerIdsOn()
    const leases = await Promise.all([0, 1, 2].map((prefer) => on.workerIds.acquire({ prefer })))
    const window = leases[1]?.claim()
    window?.used(777)
    await on.clock.advance(6_000)
    await on.workerIds[end]()
    expect(on.requests('release')).toMatchObject([{ id: 0 }, { id: 1, usedMs: 777 }, { id: 2 }])
    expect(on.table.holders()).toEqual([])
    expect(() => window?.ceiling()).toThrow(expect.objectContaining({ code: 'NOT_OWNED' }))
    expect(leases.map(({ held, signal }) => [held, signal.aborted])).toEqual([
      [false, false],
      [false, false],
      [false, false],
    ])
    expect(on.workerIds.stats()).toEqual({ acquired: 3, renewed: 3, released: 3, lost: 0, held: [] })
    expect(on.clock.pendingTimers).toBe(0)
  })

  test('gives nothing more afterwards, and may be repeated', async () => {
    const on = new WorkerIdsOn()
    await on.workerIds[end]()
    await on.workerIds[end]()
    for (const verb of ['acquire', 'holders'] as const) {
      await expect(on.workerIds[verb]()).rejects.toMatchObject({ code: 'CLOSED', capability: 'workerid' })
    }
    expect(on.calls).toEqual([])
  })

  test('reports what could not be given back, and never rejects', async () => {
    const on = new WorkerIdsOn({ release: away })
    await on.workerIds.acquire()
    const ending = watch(on.workerIds[end]())
    await on.clock.advance(5_000)
    expect(ending.state).toBe('resolved')
    expect(on.reported).toMatchObject([{ code: 'UNAVAILABLE' }])
    expect(on.clock.pendingTimers).toBe(0)
  })
})

describe('the drain of worker ids', () => {
  test('leaves nothing that the app would have to wait for', async () => {
    const on = new WorkerIdsOn()
    await on.workerIds.acquire()
    expect(await on.workerIds.drain()).toEqual([])
  })
})

describe('the stats of worker ids', () => {
  test('count since the start, and list the ids that this node has now', async () => {
    const on = new WorkerIdsOn()
    expect(on.workerIds.stats()).toEqual({ acquired: 0, renewed: 0, released: 0, lost: 0, held: [] })
    const first = await on.workerIds.acquire({ prefer: 4 })
    await on.workerIds.acquire({ prefer: 2 })
    await on.node().acquire({ prefer: 9 })
    await on.clock.advance(5_000)
    expect(on.workerIds.stats()).toEqual({ acquired: 2, renewed: 2, released: 0, lost: 0, held: [4, 2] })
    await first.release()
    expect(on.workerIds.stats()).toEqual({ acquired: 2, renewed: 2, released: 1, lost: 0, held: [2] })
    expect((await on.workerIds.holders()).map(({ id }) => id)).toEqual([2, 9])
  })
})

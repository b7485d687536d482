import { createCluster, isMultinodeError, type WorkerLease } from '@multinode/core'
import { expect, expectTypeOf, it } from 'vitest'
import { createSnowflake, type WorkerSource } from '../src/index.ts'
import { MovingClock } from './moving-clock.ts'

it('a lease of @multinode/core is a worker', async () => {
  expectTypeOf<WorkerLease>().toExtend<WorkerSource>()
  await using cluster = await createCluster({ env: {}, name: 'held' })
  await using worker = await cluster.workerIds.acquire({ range: 32 })
  const ids = createSnowflake({ worker })
  expect(ids.decode(ids.generate()).workerId).toBe(worker.id)
  expect(new Set(ids.generateMany(1000)).size).toBe(1000)
  expect(() => createSnowflake({ worker })).toThrow(expect.objectContaining({ code: 'ALREADY_EXISTS' }))
})

it('a lease of @multinode/core that is released gives no more ids, and its own reason', async () => {
  await using cluster = await createCluster({ env: {}, name: 'released' })
  const worker = await cluster.workerIds.acquire({ range: 32 })
  const clock = new MovingClock(Date.now())
  const ids = createSnowflake({ worker, clock: clock.read })
  const last = ids.generate()
  await worker.release()
  clock.nowMs += 5
  expect(ids.generate).toThrow(expect.objectContaining({ code: 'NOT_OWNED' }))
  await expect(ids.generateAsync()).rejects.toSatisfy(isMultinodeError)

  await using next = await cluster.workerIds.acquire({ range: 32 })
  const later = createSnowflake({ worker: next, clock: () => clock.nowMs - 60_000 })
  expect(
    later.decode(later.generate()).timestampMs,
    'the next one starts above, whatever its clock says',
  ).toBeGreaterThan(ids.decode(last).timestampMs)
})

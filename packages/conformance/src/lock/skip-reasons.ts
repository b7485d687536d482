import type { LockWorld } from './lock-world.ts'

export async function notFifo(world: LockWorld): Promise<string | undefined> {
  const { features } = await world.driver()
  return features.order === 'fifo' ? undefined : 'the backend promises no order'
}

/** Where nobody is told that it is their turn. */
export async function withoutPush(world: LockWorld): Promise<string | undefined> {
  const driver = await world.driver()
  return driver.onWake === undefined ? 'the driver pushes nothing' : notFifo(world)
}

export async function withoutShared(world: LockWorld): Promise<string | undefined> {
  const { shared } = await world.driver()
  return shared === undefined ? 'the driver has no shared locks' : undefined
}

export async function withoutJobs(world: LockWorld): Promise<string | undefined> {
  const { jobs } = await world.driver()
  return jobs === undefined ? 'the driver has no jobs' : undefined
}

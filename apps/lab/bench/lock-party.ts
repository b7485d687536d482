import { openRedis, type RedisClient } from '@multinode/connection-redis'
import { pluginContext } from '@multinode/core/testing'

/** How long a lock lasts that nobody renews, for all sides: longer than anything in the bench. */
export const ttlMs = 120_000
/** How long everybody is ready to wait for it. */
export const waitMs = 120_000

/** Resolves, as soon as it has the lock, with what gives it back. */
export type Acquire = (key: string) => Promise<() => Promise<unknown>>

/** Somebody who takes locks, on a connection of its own. */
export interface LockParty extends AsyncDisposable {
  readonly acquire: Acquire
}

export type JoinParty = (url: string) => Promise<LockParty>

/** On a client with the settings of ours, because it comes from the same place. */
export function joinOn(toAcquire: (client: RedisClient) => Acquire | Promise<Acquire>): JoinParty {
  return async (url) => {
    const share = await openRedis({ url }, pluginContext())
    const acquire = await toAcquire(share.connection.client)
    return { acquire, [Symbol.asyncDispose]: () => share.release() }
  }
}

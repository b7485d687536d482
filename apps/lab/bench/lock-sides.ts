import { setTimeout as sleep } from 'node:timers/promises'
import { RedisScript } from '@multinode/connection-redis'
import { Locks } from '@multinode/core'
import { capabilityContext, pluginContext } from '@multinode/core/testing'
import { redisLock } from '@multinode/lock-redis'
import { joinOn, type JoinParty, type LockParty, ttlMs, waitMs } from './lock-party.ts'
import { joinPeers } from './lock-peers.ts'

/** The portable type on lock-redis, as one node; without a cluster object around it, whose health checks are commands, too. */
const joinOurs: JoinParty = async (url) => {
  const options = { clusterName: 'bench' }
  const driver = await redisLock({ url }).create(pluginContext(options))
  const locks = new Locks(driver, capabilityContext('lock', 'redis', options))
  return {
    async acquire(key) {
      const lease = await locks.acquire(key, { ttlMs, waitMs })
      return () => lease.release()
    },
    async [Symbol.asyncDispose]() {
      await locks.close()
      await driver.close()
    },
  }
}

const compareAndDelete = new RedisScript(
  'compare-and-delete',
  `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`,
)
/** Between two attempts. */
const rawPollMs = 100

/** What one writes without a library. */
const joinRaw: JoinParty = joinOn(async (client) => {
  await client.call('SCRIPT', 'LOAD', compareAndDelete.source)
  let owners = 0
  return async (key) => {
    owners += 1
    const owner = `${process.pid}:${owners}`
    while ((await client.set(key, owner, 'PX', ttlMs, 'NX')) === null) await sleep(rawPollMs)
    return () => client.evalsha(compareAndDelete.hash, 1, key, owner)
  }
})

const joins: ReadonlyMap<string, JoinParty> = new Map([
  ['ours', joinOurs],
  ['raw', joinRaw],
  ...Object.entries(joinPeers),
])

export const sideNames: readonly string[] = [...joins.keys()]

export function joinSide(side: string, url: string): Promise<LockParty> {
  const join = joins.get(side)
  if (join === undefined) throw new Error(`nobody is called ${side}`)
  return join(url)
}

/** One party of each side. */
export class LockSides {
  readonly #parties: ReadonlyMap<string, LockParty>

  private constructor(parties: ReadonlyMap<string, LockParty>) {
    this.#parties = parties
  }

  static async join(url: string, resources: AsyncDisposableStack): Promise<LockSides> {
    const parties = new Map<string, LockParty>()
    for (const side of sideNames) parties.set(side, resources.use(await joinSide(side, url)))
    return new LockSides(parties)
  }

  party(side: string): LockParty {
    const party = this.#parties.get(side)
    if (party === undefined) throw new Error(`nobody is called ${side}`)
    return party
  }
}

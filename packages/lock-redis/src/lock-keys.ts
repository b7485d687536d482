import { slotPrefix } from '@multinode/connection-redis'

/** The keys of one lock, all in one slot. */
export class LockKeys {
  readonly lease: string
  readonly token: string
  readonly queue: string
  readonly waiters: string
  readonly holders: string
  readonly tokens: string
  readonly tombstone: string

  constructor(clusterName: string, kind: 'lock' | 'lock-shared', key: string, owner: string) {
    const prefix = slotPrefix(clusterName, kind, key)
    this.lease = `${prefix}:lease`
    this.token = `${prefix}:token`
    this.queue = `${prefix}:queue`
    this.waiters = `${prefix}:waiters`
    this.holders = `${prefix}:holders`
    this.tokens = `${prefix}:tokens`
    this.tombstone = `${prefix}:cancelled:${owner}`
  }
}

import { slotPrefix } from '@multinode/connection-redis'

/** The keys of one log, all in one slot. */
export class LogKeys {
  readonly log: string
  readonly meta: string
  readonly seen: string
  readonly nodes: string

  constructor(clusterName: string, lane: number) {
    const prefix = slotPrefix(clusterName, 'pubsub', String(lane))
    this.log = `${prefix}:log`
    this.meta = `${prefix}:meta`
    this.seen = `${prefix}:seen`
    this.nodes = `${prefix}:nodes`
  }
}

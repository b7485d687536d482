/** Its own types are not among the exports of its package: as much of them as is used. */
declare module 'redlock' {
  import type { Cluster, Redis } from 'ioredis'

  export default class Redlock {
    constructor(clients: Iterable<Redis | Cluster>, settings: { retryCount: number })
    acquire(resources: string[], durationMs: number): Promise<{ release(): Promise<unknown> }>
  }
}

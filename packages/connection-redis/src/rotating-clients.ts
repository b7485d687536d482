import { Cluster, type Redis } from 'ioredis'
import { BatchingRedis } from './batching-redis.ts'
import type { ClusterOptions, ServerOptions } from './create-client.ts'
import type { RedisEndpoint } from './redis-target.ts'
import type { RotatingPassword } from './rotating-password.ts'

// ioredis takes the password once, when a client is made. These take the newest for each connection. They must be made with
// `lazyConnect`, because their constructors do not have the password yet.

/** For one server, also behind Sentinels. */
export class RotatingRedis extends BatchingRedis {
  readonly #password: RotatingPassword
  #isEnded = false

  constructor(options: ServerOptions, password: RotatingPassword) {
    super(options)
    this.#password = password
  }

  /** Also called by ioredis for each reconnect. */
  override async connect(): Promise<void> {
    this.#isEnded = false
    // With the one before it may still work; and if not, the next attempt asks again.
    await this.#password.renew().catch((error: unknown) => this.emit('error', error))
    if (this.#isEnded) throw new Error('Connection is closed.')
    this.options.password = this.#password.current
    return super.connect()
  }

  override disconnect(reconnect = false): void {
    this.#isEnded = !reconnect
    super.disconnect(reconnect)
  }
}

export class RotatingCluster extends Cluster {
  readonly #password: RotatingPassword
  #isEnded = false

  constructor(nodes: RedisEndpoint[], options: ClusterOptions, password: RotatingPassword) {
    super(nodes, options)
    this.#password = password
    this.on('+node', (node: Redis) => {
      Object.defineProperty(node.options, 'password', { get: () => password.current, enumerable: true })
    })
    // A node that is lost is connected anew with the next command; until the new one is told, with the one before.
    this.on('-node', () => void this.#renew())
  }

  override async connect(): Promise<void> {
    this.#isEnded = false
    await this.#renew()
    if (this.#isEnded) throw new Error('Connection is closed.')
    return super.connect()
  }

  override disconnect(reconnect = false): void {
    this.#isEnded = !reconnect
    super.disconnect(reconnect)
  }

  async #renew(): Promise<void> {
    if (!this.#isEnded) await this.#password.renew().catch((error: unknown) => this.emit('error', error))
  }
}

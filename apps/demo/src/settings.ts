import type { DatabaseSync } from 'node:sqlite'
import type { PubSub, Subscription } from '@multinode/core'
import { ShopError } from './shop-error.ts'

export interface ShopSettings {
  /** The most that one order may have of an item. */
  readonly maxQuantity: number
}

export interface SettingsParts {
  readonly database: DatabaseSync
  readonly pubsub: PubSub
  readonly report: (message: string) => void
}

const topic = 'settings.changed'

/**
 * What an administrator changes while the shop is open. The database has it; each node keeps a copy, because it is asked for with every order, and reads it again when a
 * signal says that it changed, or when signals may have been missed.
 */
export class Settings {
  readonly #database: DatabaseSync
  readonly #pubsub: PubSub
  readonly #report: (message: string) => void
  #current: ShopSettings
  #subscription: Subscription | undefined
  #reloads = 0

  constructor({ database, pubsub, report }: SettingsParts) {
    this.#database = database
    this.#pubsub = pubsub
    this.#report = report
    this.#current = this.#read()
  }

  get current(): ShopSettings {
    return this.#current
  }

  /** How often they were read again. */
  get reloads(): number {
    return this.#reloads
  }

  async start(): Promise<void> {
    this.#subscription = await this.#pubsub.subscribe(topic, () => this.#reload(), {
      onGap: ({ reason }) => {
        this.#report(`Signals may have been missed (${reason}): the settings are read again.`)
        this.#reload()
      },
    })
    // What changed between the first look and the subscription was not told.
    this.#reload()
  }

  /** @returns what is then in force on this node; on the others as soon as the signal arrives */
  async change(wanted: ShopSettings): Promise<ShopSettings> {
    this.#database.prepare('UPDATE settings SET max_quantity = ?').run(wanted.maxQuantity)
    this.#reload()
    await this.#pubsub.publish(topic)
    return this.#current
  }

  /** @throws `TOO_MANY` */
  check(quantity: number): void {
    const { maxQuantity } = this.#current
    if (quantity <= maxQuantity) return
    throw new ShopError(
      'TOO_MANY',
      `quantity is ${quantity}; one order may have ${maxQuantity} at most: see GET /settings.`,
    )
  }

  async stop(): Promise<void> {
    await this.#subscription?.close()
  }

  #reload(): void {
    this.#current = this.#read()
    this.#reloads += 1
  }

  #read(): ShopSettings {
    const row = this.#database.prepare('SELECT max_quantity FROM settings').get()
    return { maxQuantity: Number(row?.['max_quantity']) }
  }
}

import type { Cache, CacheNamespace, InvalidationResult } from '@multinode/core'
import type { Catalogue } from './catalogue.ts'
import { ShopError } from './shop-error.ts'

/** How old a price may be that nobody told us of: it is changed here, so that this is for changes past the shop. */
const ttlMs = 60_000
/** How long an old price is better than none, when the catalogue is away. */
const graceMs = 600_000
/** An old price at once is better than a new one later. */
const softTimeoutMs = 50
const hardTimeoutMs = 2_000
/** Of names that are no items: whoever asks for many of them fills nothing for long. */
const negativeTtlMs = 5_000

export interface PricesParts {
  readonly cache: Cache
  readonly catalogue: Catalogue
  /** How long the cache's backend may take for an answer. */
  readonly patienceMs: number
}

/**
 * Prices of the slow catalogue, through the cache: however many nodes ask for one at once, the catalogue is asked once. Without the cache's backend each node asks
 * for itself, and customers still get an answer.
 */
export class Prices {
  readonly #catalogue: Catalogue
  readonly #cents: CacheNamespace<number | null>

  constructor({ cache, catalogue, patienceMs }: PricesParts) {
    this.#catalogue = catalogue
    // How long a price is kept in this process is not said: as long as signals tell of changes, or else not at all.
    this.#cents = cache.namespace('prices', {
      ttlMs,
      graceMs,
      jitter: 0.1,
      l1: { maxItems: 1_000 },
      timeoutMs: patienceMs,
    })
  }

  /** @throws `ITEM_NOT_FOUND`; `TIMEOUT` when the catalogue takes longer than 2 s and no old price is known */
  async of(item: string): Promise<number> {
    const cents = await this.#cents.getOrSet(item, (context) => this.#catalogue.read(item, context.signal), {
      softTimeoutMs,
      hardTimeoutMs,
      negativeTtlMs,
    })
    if (cents === null || cents === undefined) throw itemNotFound(item)
    return cents
  }

  /**
   * First in the catalogue, then in the cache: the other way round, a node that asks in between would store the old one again.
   *
   * @returns `done`: this and all nodes show the new price; `deferred`: the cache could not be told yet, and other nodes may show the old one until it is, for a minute or so
   * @throws `ITEM_NOT_FOUND`
   */
  async change(item: string, priceCents: number): Promise<InvalidationResult> {
    if (!this.#catalogue.change(item, priceCents)) throw itemNotFound(item)
    return this.#cents.delete(item)
  }
}

function itemNotFound(item: string): ShopError {
  return new ShopError('ITEM_NOT_FOUND', `There is no item ${JSON.stringify(item)}: see GET /stock.`)
}

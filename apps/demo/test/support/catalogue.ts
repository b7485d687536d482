import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Catalogue } from '../../src/catalogue.ts'
import type { PrintShop } from './print-shop.ts'

/** What no node is told of: the price in the catalogue and the one in the cache differ from now on. */
export function changePastTheShops(folder: string, item: string, priceCents: number): void {
  const database = new DatabaseSync(path.join(folder, 'shop.sqlite'), { timeout: 2_000 })
  try {
    new Catalogue(database).change(item, priceCents)
  } finally {
    database.close()
  }
}

/** Of all nodes together. */
export async function catalogueReads(shops: readonly PrintShop[]): Promise<number> {
  const each = await Promise.all(shops.map((shop) => shop.cluster()))
  return each.reduce((sum, { catalogueReads: reads }) => sum + reads, 0)
}

export async function prices(shops: readonly PrintShop[], item: string): Promise<number[]> {
  return Promise.all(shops.map((shop) => shop.price(item)))
}

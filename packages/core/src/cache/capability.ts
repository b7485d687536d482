import type { Capability } from '../capability.ts'
import { checkVerbs } from '../registry/driver.ts'
import { Cache } from './cache.ts'
import type { CacheDriver } from './cache-driver.ts'
import { memoryCache } from './memory-cache.ts'

const verbs: readonly (keyof CacheDriver)[] = ['open']

export const cacheCapability: Capability<Cache> = {
  name: 'cache',
  memory: memoryCache,
  portable(driver, context) {
    checkVerbs<CacheDriver>(driver, verbs, context)
    return new Cache(driver, context)
  },
}

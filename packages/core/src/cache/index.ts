export type { CacheBackendStats, InvalidationResult } from './backend.ts'
export { bloomOffsets, bloomShape, type BloomShape, mostBloomBits } from './bloom-bits.ts'
export type { BloomFilter, BloomFilterOptions } from './bloom-filter.ts'
export { Cache, type CacheStats } from './cache.ts'
export type {
  BloomDefinition,
  BloomFilterDriver,
  CacheDriver,
  CacheFeatures,
  CachePlugin,
  CacheSpace,
  ClaimReply,
  ClaimRequest as CacheClaimRequest,
  CounterDriver,
  FileDriver,
  NewEntry,
  Snapshot,
  SpaceDefinition,
  StoredEntry,
  StoredFile,
} from './cache-driver.ts'
export type {
  EntryOptions,
  GetOrSetOptions,
  LocalCacheOptions,
  NamespaceOptions,
  SetOptions,
} from './cache-options.ts'
export type { LoadStats } from './cache-stats.ts'
export type { CoherenceStats } from './coherence.ts'
export type { Counter, CounterOptions, IncrementOptions } from './counter.ts'
export type { DeleteFileOptions, FileReply, Files, GetFileOptions, PutFileOptions } from './files.ts'
export type { Factory, FactoryContext } from './load.ts'
export type { CacheNamespace, NewValue } from './namespace.ts'
export type { CacheCodec } from './value-codec.ts'

import { isMultinodeError } from '../errors/multinode-error.ts'
import type { CapabilityContext } from '../runtime/capability-context.ts'
import type { CacheBackend } from './backend.ts'
import type { CacheSpace } from './cache-driver.ts'
import type { NamespaceSettings } from './cache-options.ts'
import type { LoadStats } from './cache-stats.ts'
import type { LocalEntries } from './local-entries.ts'
import type { ValueCodec } from './value-codec.ts'

/** What the verbs of one namespace work on. */
export interface SpaceParts<T> {
  readonly name: string
  readonly settings: NamespaceSettings
  readonly space: CacheSpace
  readonly backend: CacheBackend
  readonly local: LocalEntries<T>
  readonly codec: ValueCodec
  readonly context: CapabilityContext
  readonly stats: LoadStats
}

/** Whether an app can go on without the backend after this. */
export function failsOpen<T>({ settings, context }: SpaceParts<T>, error: unknown): boolean {
  if (settings.isStrict || isFinal(error)) return false
  reportDefect(context, error)
  return true
}

/** For an error that no caller gets: an outage is known of, anything else nobody would hear of. */
export function reportDefect({ report }: CapabilityContext, error: unknown): void {
  if (isFinal(error) || (isMultinodeError(error) && error.retryable)) return
  report(error)
}

function isFinal(error: unknown): boolean {
  return isMultinodeError(error) && (error.code === 'CLOSED' || error.code === 'INVALID_ARGUMENT')
}

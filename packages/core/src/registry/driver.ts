import is from '@sindresorhus/is'
import { MultinodeError } from '../errors/multinode-error.ts'

/**
 * What every driver has in common; each capability extends it with its verbs (`LockDriver`, ...). A driver that
 * exists is connected: a plugin's `create` resolves no sooner.
 */
export interface Driver {
  /** What this backend guarantees; facts, also compared with what an app requires at start. */
  readonly features: Readonly<Record<string, string | number | boolean>>
  /** Where it is connected, without secrets; `null` when it lives in this process. */
  readonly address: string | null
  /** What is wrong with a backend that serves all the same, and what to do about each: makes `health()` degraded. Looked at after each ping. */
  readonly concerns?: readonly string[]
  /** The client underneath, for what the portable type does not offer. Typed by each driver. */
  readonly native: unknown
  /** One cheap round trip. Must reject when the backend cannot serve; is called every few seconds. */
  ping(timeoutMs: number): Promise<void>
  /** Frees what the driver opened, and nothing that was handed in. Must not reject because of a dead backend. */
  close(): Promise<void>
}

const commonVerbs: readonly (keyof Driver)[] = ['ping', 'close']

/** Refuses a driver that lacks one of the functions that its capability calls, or the facts that every driver states. */
export function checkVerbs<D extends Driver>(
  driver: Driver,
  verbs: readonly (keyof D)[],
  origin: { readonly capability: string; readonly backend: string },
): asserts driver is D {
  const missing = [...commonVerbs, ...verbs].filter((verb) => !is.function(Reflect.get(driver, verb)))
  if (!is.plainObject(driver.features)) missing.push('features')
  if (driver.address !== null && !is.string(driver.address)) missing.push('address')
  if (missing.length === 0) return
  throw new MultinodeError(
    'MISCONFIGURED',
    `The driver for ${origin.capability} on ${origin.backend} lacks ${missing.map(String).join(', ')}: ` +
      'its package does not fulfil the driver contract; ask its author to run the conformance suite.',
    { capability: origin.capability, backend: origin.backend },
  )
}

import { MultinodeError } from '../errors/multinode-error.ts'
import { maskSecrets } from '../errors/mask-secrets.ts'
import type { CapabilityName } from './capability-name.ts'

/** The environment as read once at start. */
export type Environment = Readonly<Record<string, string | undefined>>

/** A variable that was set, under the name it was found by. */
export interface Variable {
  readonly name: string
  readonly value: string
}

/** The names that operators of such systems already have in their files; the first of each list is the preferred one. */
export const adapterVariables: Readonly<Record<CapabilityName, readonly string[]>> = {
  pubsub: ['PUBSUB_ADAPTER'],
  queue: ['QUEUE_ADAPTER'],
  lock: ['LOCK_ADAPTER', 'LOCK_ADAPTER_DEFAULT'],
  cache: ['CACHE_ADAPTER', 'CACHE_DEFAULT_STORE'],
  workerid: ['WORKERID_ADAPTER'],
}

const addressAliases: Readonly<Record<string, readonly string[]>> = {
  CACHE_ADAPTER_REDIS_URL: ['CACHE_REDIS_URL'],
}

/** The variables that hold the address of one capability's own backend, preferred first. */
export function ownAddressVariables(capability: CapabilityName, backend: string): readonly string[] {
  const name = `${capability.toUpperCase()}_ADAPTER_${backend.toUpperCase()}_URL`
  return [name, ...(addressAliases[name] ?? [])]
}

/** Reads variables with an optional prefix that comes first: `SHOP_LOCK_ADAPTER` before `LOCK_ADAPTER`. */
export class Variables {
  readonly #env: Environment
  readonly #prefix: string

  constructor(env: Environment, prefix = '') {
    this.#env = env
    this.#prefix = prefix
  }

  /**
   * The value of one variable known by several names; an empty or blank value counts as not set, because that is
   * how compose files pass "nothing". Two names with different values contradict each other: an error.
   */
  read(names: readonly string[]): Variable | undefined {
    const prefixed = this.#prefix === '' ? [] : names.map((name) => this.#prefix + name)
    return this.#readConsistent(prefixed) ?? this.#readConsistent(names)
  }

  /** Whether it was found under its prefixed name, which comes first. */
  isPrefixed({ name }: Variable): boolean {
    return this.#prefix !== '' && name.startsWith(this.#prefix)
  }

  /** The names that match and are set: those with the prefix, which is removed, or else those without. */
  namesLike(pattern: RegExp): readonly RegExpExecArray[] {
    const prefixed = this.#prefix === '' ? [] : this.#matching(pattern, this.#prefix)
    return prefixed.length > 0 ? prefixed : this.#matching(pattern, '')
  }

  #matching(pattern: RegExp, prefix: string): RegExpExecArray[] {
    return Object.entries(this.#env)
      .filter(([name, value]) => name.startsWith(prefix) && value !== undefined && value.trim() !== '')
      .map(([name]) => pattern.exec(name.slice(prefix.length)))
      .filter((match) => match !== null)
  }

  #readConsistent(names: readonly string[]): Variable | undefined {
    const found: Variable[] = []
    for (const name of names) {
      const value = this.#env[name]?.trim()
      if (value !== undefined && value !== '') found.push({ name, value })
    }
    const [first, ...others] = found
    const other = others.find((variable) => variable.value !== first?.value)
    if (first !== undefined && other !== undefined) {
      throw new MultinodeError(
        'MISCONFIGURED',
        `${first.name}=${maskSecrets(first.value)} and ${other.name}=${maskSecrets(other.value)} contradict each other: ` +
          'they are two names of one setting, keep one of them.',
        { details: { variables: found.map((variable) => variable.name) } },
      )
    }
    return first
  }
}

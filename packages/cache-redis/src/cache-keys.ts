import { slotPrefix } from '@multinode/connection-redis'
import type { SpaceDefinition } from '@multinode/core'

/** The keys of one namespace. Only an entry and the lease of its key have to be in one slot; all others are spread over a Cluster. */
export class CacheKeys {
  /** Of the version of the namespace. */
  readonly version: string
  readonly #clusterName: string
  readonly #space: string

  constructor(clusterName: string, { name, version }: SpaceDefinition) {
    this.#clusterName = clusterName
    this.#space = `${part(name)}@${part(version)}`
    this.version = `${slotPrefix(clusterName, 'cache', this.#space)}:version`
  }

  entry(key: string): string {
    return `${this.#prefix(key)}:entry`
  }

  entryAndLease(key: string): [entry: string, lease: string] {
    const prefix = this.#prefix(key)
    return [`${prefix}:entry`, `${prefix}:lease`]
  }

  /** Of the version of a tag. */
  tag(tag: string): string {
    return `${this.#prefix(tag)}:tag`
  }

  #prefix(key: string): string {
    return slotPrefix(this.#clusterName, 'cache', `${this.#space}:${key}`)
  }
}

/** So that the parts of a key cannot be taken for others. */
function part(text: string): string {
  return text.replace(/[%:@]/g, (character) => encodeURIComponent(character))
}

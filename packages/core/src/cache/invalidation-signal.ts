import is from '@sindresorhus/is'
import type { SpaceDefinition } from './cache-driver.ts'
import type { Invalidation } from './unsaid.ts'

/** Where nodes tell each other what they invalidated. An app that listens to all topics hears it, too. */
export const topic = 'multinode.cache'

/** What travels: the namespace, and keys, tags or neither, which is all of it. Readers ignore what they do not know. */
interface Signal {
  readonly n: string
  readonly v: string
  readonly k?: readonly string[]
  readonly t?: readonly string[]
}

/** Of one signal, as JSON. Signals may have 64 KiB; the rest is the name of the namespace, and what the bus adds. */
const mostBytes = 32_768
/** From so many on it is cheaper for all to forget the whole namespace. */
const mostSignals = 8

/** As few signals as fit. */
export function signalsOf({ name, version }: SpaceDefinition, what: Invalidation): readonly object[] {
  const all: Signal = { n: name, v: version }
  if ('clear' in what) return [all]
  const parts = split('keys' in what ? what.keys : what.tags)
  if (parts === undefined) return [all]
  return parts.map((part) => ('keys' in what ? { ...all, k: part } : { ...all, t: part }))
}

/** @returns undefined for what this version cannot read: it may concern anything */
export function readSignal(
  payload: unknown,
): { readonly definition: SpaceDefinition; readonly what: Invalidation } | undefined {
  if (!is.plainObject(payload)) return undefined
  const { n: name, v: version, k: keys, t: tags } = payload
  if (!is.string(name) || !is.string(version)) return undefined
  const definition = { name, version }
  if (is.array(keys, is.string)) return { definition, what: { keys } }
  if (is.array(tags, is.string)) return { definition, what: { tags } }
  return { definition, what: { clear: true } }
}

function split(items: readonly string[]): string[][] | undefined {
  const parts: string[][] = []
  let part: string[] = []
  let bytes = 0
  for (const item of items) {
    const size = Buffer.byteLength(JSON.stringify(item)) + 1
    if (size > mostBytes) return undefined
    if (part.length === 0 || bytes + size > mostBytes) {
      part = []
      bytes = 0
      parts.push(part)
      if (parts.length > mostSignals) return undefined
    }
    part.push(item)
    bytes += size
  }
  return parts
}

const escapes: Readonly<Record<string, string>> = { '%': '%25', '{': '%7B', '}': '%7D' }

/**
 * The common beginning of all keys of one thing, which puts them into one slot of a Redis Cluster:
 * `{<cluster>:<capability>:<name>}`. Braces in the user's name are escaped, because the first closing one would end the
 * hash tag; different names never meet.
 */
export function slotPrefix(clusterName: string, capability: string, name: string): string {
  return `{${clusterName}:${capability}:${escaped(name)}}`
}

/** Most names have nothing to escape, and finding that out costs less than replacing nothing. */
function escaped(name: string): string {
  if (!/[%{}]/.test(name)) return name
  return name.replace(/[%{}]/g, (character) => escapes[character] ?? character)
}

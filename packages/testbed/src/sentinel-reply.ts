/** SENTINEL MASTER: names and values in turn. */
export function fields(reply: unknown): Map<string, string> {
  const words = Array.isArray(reply) ? reply.map(String) : []
  const pairs = words.flatMap((word, index): [string, string][] =>
    index % 2 === 0 ? [[word, words[index + 1] ?? '']] : [],
  )
  return new Map(pairs)
}

/** SENTINEL REPLICAS, SENTINEL SENTINELS: one such list each. */
export function records(reply: unknown): Map<string, string>[] {
  return Array.isArray(reply) ? reply.map(fields) : []
}

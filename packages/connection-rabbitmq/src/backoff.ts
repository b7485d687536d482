const firstMs = 100
/** Work goes on within seconds of the server's return. */
const longestMs = 3_000
const refusedMs = 10_000

/** How long to wait before a further attempt, of which there were so many before: full jitter, so that the nodes of a cluster do not come together. */
export function backoffMs(attempt: number): number {
  return Math.random() * Math.min(longestMs, firstMs * 2 ** Math.min(attempt, 20))
}

/** After a refusal that only a person can mend: longer, because a server may lock out who asks often. */
export function refusedBackoffMs(): number {
  return refusedMs * (0.5 + Math.random() / 2)
}

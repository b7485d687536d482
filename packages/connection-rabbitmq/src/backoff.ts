const firstMs = 100
const longestMs = 10_000

/** How long to wait before a further attempt, of which there were so many before: full jitter, so that the nodes of a cluster do not come together. */
export function backoffMs(attempt: number): number {
  return Math.random() * Math.min(longestMs, firstMs * 2 ** Math.min(attempt, 20))
}

/** After a refusal that only a person can mend: about the longest wait, because a server may lock out who asks often. */
export function refusedBackoffMs(): number {
  return longestMs * (0.5 + Math.random() / 2)
}

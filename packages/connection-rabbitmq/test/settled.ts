/** How a call ended: its value or its error, and after how long. */
export interface Settled {
  readonly value: unknown
  readonly error: unknown
  readonly ms: number
}

/** Never rejects; a call that hangs is caught by the test's own time limit. */
export async function settled(call: Promise<unknown>): Promise<Settled> {
  const startedAt = performance.now()
  try {
    const value = await call
    return { value, error: undefined, ms: performance.now() - startedAt }
  } catch (error) {
    return { value: undefined, error, ms: performance.now() - startedAt }
  }
}

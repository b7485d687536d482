/**
 * What a call rejects with; what it resolves with where it should not. Not `expect(call).rejects`: Vitest would wait for that at the end of the test that began last,
 * and let that one fail, where several run side by side.
 */
export function refusal(work: Promise<unknown>): Promise<unknown> {
  return work.catch((error: unknown) => error)
}

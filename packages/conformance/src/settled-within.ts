/**
 * What `work` resolved or rejected with, or the text `pending` when it did neither within `deadlineMs`: for telling a
 * call that hangs from one that fails.
 */
export async function settledWithin(deadlineMs: number, work: Promise<unknown>): Promise<unknown> {
  let timer: NodeJS.Timeout | undefined
  const pending = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve('pending'), deadlineMs)
  })
  const settled = work.catch((error: unknown) => error)
  return Promise.race([settled, pending]).finally(() => clearTimeout(timer))
}

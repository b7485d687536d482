import { setTimeout as sleep } from 'node:timers/promises'

const stepMs = 10

/**
 * What `work` resolved or rejected with, or the text `pending` when it did neither within `deadlineMs`: for telling a
 * call that hangs from one that fails. A time in which this process stands still counts for 10 ms, however long it is: nothing can settle in it.
 */
export async function settledWithin(deadlineMs: number, work: Promise<unknown>): Promise<unknown> {
  let isSettled = false
  const pending = async (): Promise<string> => {
    for (let passedMs = 0; passedMs < deadlineMs && !isSettled; passedMs += stepMs) await sleep(stepMs)
    return 'pending'
  }
  const settled = work
    .catch((error: unknown) => error)
    .finally(() => {
      isSettled = true
    })
  return Promise.race([settled, pending()])
}

/** What became of a promise so far: for tests that move a clock and look. */
export interface Outcome {
  state: 'pending' | 'resolved' | 'rejected'
  value: unknown
}

/** Watches a promise, and counts as handling its rejection. */
export function watch(promise: Promise<unknown>): Outcome {
  const outcome: Outcome = { state: 'pending', value: undefined }
  promise.then(
    (value) => Object.assign(outcome, { state: 'resolved', value }),
    (error: unknown) => Object.assign(outcome, { state: 'rejected', value: error }),
  )
  return outcome
}

/** The error that `work` throws or rejects with. */
export async function failureOf(work: () => unknown): Promise<unknown> {
  try {
    await work()
  } catch (error) {
    return error
  }
  throw new Error('nothing failed')
}

/** An answer that never comes. */
export function never(): Promise<never> {
  return new Promise(() => {})
}

/** One turn of the event loop, in which all promises that can settle do. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}

/** An answer that comes when the test says so. */
export class Later<T> {
  readonly promise: Promise<T>
  resolve: (value: T) => void = () => {}
  reject: (error: unknown) => void = () => {}

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
  }
}

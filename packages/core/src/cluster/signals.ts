import { MultinodeError } from '../errors/multinode-error.ts'
import { checkKnownOptions, checkMs } from '../runtime/check.ts'
import { type Clock, pause } from '../runtime/clock.ts'
import { withDeadline } from '../runtime/deadline.ts'
import type { Cluster } from './cluster.ts'

export interface SignalOptions {
  /** How long running work may go on, in ms, `beforeDrain` included. Default 30,000. */
  readonly deadlineMs?: number
  /** Runs first, within the same deadline: stop taking requests. A failure is reported and does not stop the shutdown. */
  readonly beforeDrain?: () => void | Promise<void>
}

const signals: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT']

export function handleSignals(
  cluster: Cluster,
  options: SignalOptions,
  clock: Clock,
  report: (error: unknown) => void,
): () => void {
  checkKnownOptions('handleSignals', options, ['deadlineMs', 'beforeDrain'])
  const deadlineMs = checkMs('deadlineMs', options.deadlineMs ?? 30_000, { min: 0 })
  let isStopping = false
  const remove = (): void => {
    for (const signal of signals) process.off(signal, onSignal)
  }
  function onSignal(signal: NodeJS.Signals): void {
    if (isStopping) {
      endBy(signal)
      return
    }
    isStopping = true
    void shutDown().finally(() => endBy(signal))
  }
  async function shutDown(): Promise<void> {
    const untilMs = clock.monotonicMs() + deadlineMs
    try {
      await withDeadline(clock, deadlineMs, Promise.resolve(options.beforeDrain?.()), () => {
        return new MultinodeError('TIMEOUT', `beforeDrain was not done after ${deadlineMs} ms (deadlineMs).`)
      })
    } catch (error) {
      report(error)
    }
    const leftMs = Math.max(0, Math.round(untilMs - clock.monotonicMs()))
    // A drain that somebody began before may have a later deadline than this one.
    await Promise.race([cluster.drain({ deadlineMs: leftMs }), pause(clock, leftMs)])
    await cluster.close()
  }
  function endBy(signal: NodeJS.Signals): void {
    remove()
    // Whoever else listens, such as another cluster object that still drains, ends the process when it is done.
    if (process.listenerCount(signal) > 0) return
    // Sent again without our handler, it ends the process in the usual way, with the exit status that parents expect.
    process.kill(process.pid, signal)
  }
  for (const signal of signals) process.on(signal, onSignal)
  return remove
}

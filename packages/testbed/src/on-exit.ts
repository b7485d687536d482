const tasks = new Set<() => void>()
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/**
 * Runs a synchronous task when this process ends: normally, by an error, by SIGINT, SIGTERM or SIGHUP, or
 * because the process that forked it is gone. SIGKILL cannot be seen. Last in, first out.
 * Returns a function that takes the task back.
 */
export function onExit(task: () => void): () => void {
  if (tasks.size === 0) listen()
  tasks.add(task)
  return () => {
    if (tasks.delete(task) && tasks.size === 0) stopListening()
  }
}

function listen(): void {
  process.on('exit', runTasks)
  process.on('disconnect', endAsOrphan)
  for (const signal of signals) process.on(signal, endBySignal)
}

function stopListening(): void {
  process.off('exit', runTasks)
  process.off('disconnect', endAsOrphan)
  for (const signal of signals) process.off(signal, endBySignal)
}

function endBySignal(signal: NodeJS.Signals): void {
  // Someone else handles this signal, and decides when the process ends: 'exit' comes then.
  if (process.listenerCount(signal) > 1) return
  runTasks()
  // Not process.exit(): vitest forbids it in its workers, and the parent should see the signal.
  process.kill(process.pid, signal)
}

/** A vitest worker whose main process was killed would hang for ever, and keep its servers. */
function endAsOrphan(): void {
  runTasks()
  process.kill(process.pid, 'SIGTERM')
}

function runTasks(): void {
  stopListening()
  for (const task of [...tasks].toReversed()) {
    tasks.delete(task)
    try {
      task()
    } catch (error) {
      process.stderr.write(`testbed: clean-up at exit failed: ${String(error)}\n`)
    }
  }
}

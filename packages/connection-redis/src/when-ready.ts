import { MultinodeError, type PluginContext, withDeadline } from '@multinode/core'
import { closeMs, type RedisClient } from './create-client.ts'
import { reasonOf, isFatalForConnect, toRedisError } from './redis-errors.ts'

/** Resolves when the server answers; rejects at the deadline with the last reason, or at once when it is final. */
export async function whenReady(
  client: RedisClient,
  address: string,
  source: string,
  context: PluginContext,
  checks: readonly Promise<void>[] = [],
): Promise<void> {
  let lastReason = 'no connection'
  let stopListening = (): void => {}
  const ready = new Promise<void>((resolve, reject) => {
    const onReady = (): void => resolve()
    const onAbort = (): void => reject(new Error('it is not wanted any more'))
    const onError = (error: Error): void => {
      lastReason = reasonOf(error)
      if (isFatalForConnect(error)) {
        reject(toRedisError(error, { address, operation: `connecting (${source})`, outcome: 'not-sent' }))
      }
    }
    client.on('ready', onReady)
    client.on('error', onError)
    client.on('node error', onError)
    for (const check of checks) check.catch(reject)
    context.signal.addEventListener('abort', onAbort)
    stopListening = () => {
      client.off('ready', onReady)
      client.off('error', onError)
      client.off('node error', onError)
      context.signal.removeEventListener('abort', onAbort)
    }
    if (context.signal.aborted) onAbort()
    // Its rejection is only that of the first attempt; later ones follow.
    else if (client.status === 'wait') client.connect().catch(() => {})
  })
  try {
    await withDeadline(context.clock, readyWithinMs(context), ready, () => {
      const reason = client.status === 'connect' ? 'it takes connections, but does not answer' : lastReason
      return new MultinodeError(
        'UNAVAILABLE',
        `Redis at ${address} (${source}) was not reached within ${context.connectTimeoutMs} ms: ${reason}. ` +
          'Check that the server runs and that the address is right.',
        { backend: 'redis', details: { address, source } },
      )
    })
  } finally {
    stopListening()
  }
}

/** Leaves time to close what did not connect, so that this reason is told and not core's. */
export function readyWithinMs({ connectTimeoutMs }: PluginContext): number {
  return Math.max(connectTimeoutMs / 2, connectTimeoutMs * 0.95 - closeMs)
}

import { MultinodeError, type PluginContext, withDeadline } from '@multinode/core'
import is from '@sindresorhus/is'
import { closeMs, Link } from './link.ts'
import { RabbitmqConnection } from './rabbitmq-connection.ts'
import type { RabbitmqTarget } from './rabbitmq-target.ts'

/**
 * Connects to what the target describes, and resolves once it answers.
 * @param source where the target was given, for errors
 */
export async function connect(
  target: RabbitmqTarget,
  source: string,
  context: PluginContext,
): Promise<RabbitmqConnection> {
  const common = { target, source, context, askPassword: () => askPassword(target, context) }
  const consuming = new Link({ ...common, role: 'consuming', beforeRestore: async () => {}, onChange })
  const publishing = new Link({
    ...common,
    role: 'publishing',
    beforeRestore: () => otherIsBack(consuming),
    onChange,
  })
  const connection = new RabbitmqConnection({ consuming, publishing })
  function onChange(): void {
    connection.changed()
  }
  // Leaves time to close what did not connect, so that this reason is told and not core's.
  const timeoutMs = Math.max(context.connectTimeoutMs / 2, context.connectTimeoutMs * 0.95 - 2 * closeMs)
  try {
    await Promise.all([consuming.start(timeoutMs), publishing.start(timeoutMs)])
  } catch (error) {
    await connection.close()
    throw error
  }
  return connection
}

/** Queues are declared on the other connection: what was not confirmed is sent again when they are there, or must be gone for good. */
async function otherIsBack(other: Link): Promise<void> {
  const { clock, callTimeoutMs } = other.context
  await withDeadline(clock, callTimeoutMs, other.whenUp(), () => new Error('late')).catch(() => {})
}

async function askPassword({ password }: RabbitmqTarget, context: PluginContext): Promise<string> {
  if (!is.function(password)) return password
  const asked = (async () => password())()
  try {
    const told: unknown = await withDeadline(context.clock, context.callTimeoutMs, asked, () => {
      return new Error(`no answer within ${context.callTimeoutMs} ms`)
    })
    if (!is.nonEmptyString(told)) throw new Error(`it gave ${is(told)}, not a text`)
    return told
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new MultinodeError(
      'UNAVAILABLE',
      `The function that gives the password of RabbitMQ failed: ${reason}.`,
      {
        backend: 'rabbitmq',
        outcome: 'not-sent',
        cause,
      },
    )
  }
}

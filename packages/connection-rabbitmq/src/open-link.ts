import { Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { type Clock, withDeadline } from '@multinode/core'
import { type ChannelModel, connect } from 'amqplib'
import type { RabbitmqEndpoint, RabbitmqTarget } from './rabbitmq-target.ts'
import { writeTogether } from './write-together.ts'

/** One AMQP connection. */
export interface OpenLink {
  readonly model: ChannelModel
  /** Set once, before anybody is told. */
  lostBecause: Error | undefined
  /** Why the server takes no messages, as long as it takes none. */
  blockedBecause: string | undefined
  /** Cuts the socket, whatever the server does. */
  readonly cut: () => void
}

/** Attached in the turn in which the connection opens. */
export interface LinkEvents {
  readonly onLost: (link: OpenLink, error: Error) => void
  readonly onBlocked: (link: OpenLink, reason: string | undefined) => void
}

export interface OpenLinkParts {
  readonly target: RabbitmqTarget
  readonly password: string
  readonly connectionName: string
  readonly timeoutMs: number
  readonly clock: Clock
  readonly events: LinkEvents
  /** Ends what is still being opened. */
  readonly ending: AbortSignal
}

/** Settles within `timeoutMs`, and at once when `ending` is aborted; what does not succeed leaves no socket. */
export async function openLink(endpoint: RabbitmqEndpoint, parts: OpenLinkParts): Promise<OpenLink> {
  const { target, timeoutMs, clock, events, ending } = parts
  const abort = new AbortController()
  const onEnding = (): void => abort.abort()
  ending.addEventListener('abort', onEnding)
  const opening = connect(
    {
      protocol: target.tls === undefined ? 'amqp' : 'amqps',
      hostname: endpoint.host,
      port: endpoint.port,
      username: target.user,
      password: parts.password,
      vhost: encodeURIComponent(target.vhost),
      heartbeat: target.heartbeatSeconds,
      frameMax: target.frameMaxBytes,
    },
    socketOptions(parts, abort.signal),
  ).then(async (model) => {
    // Not in the types of amqplib. Where it is another thing one day, messages only cost more.
    const stream: unknown = Reflect.get(model.connection, 'stream')
    if (stream instanceof Socket) writeTogether(stream)
    const link: OpenLink = {
      model,
      lostBecause: undefined,
      blockedBecause: undefined,
      cut: () => abort.abort(),
    }
    const lose = (error: Error): void => {
      if (link.lostBecause !== undefined) return
      link.lostBecause = error
      events.onLost(link, error)
    }
    model.on('error', lose)
    // A server that shuts down closes without an error.
    model.on('close', (error?: Error) => lose(error ?? new Error('it was closed')))
    model.on('blocked', (reason: string) => events.onBlocked(link, reason))
    model.on('unblocked', () => events.onBlocked(link, undefined))
    await checkOpen(model)
    return link
  })
  try {
    return await withDeadline(clock, timeoutMs, opening, () => {
      return new Error(`no connection within ${timeoutMs} ms`)
    })
  } catch (error) {
    abort.abort()
    throw error
  } finally {
    ending.removeEventListener('abort', onEnding)
  }
}

/**
 * A server that closes the connection in the moment in which it opened it is heard by nobody: amqplib emits the close before it hands out what could
 * be listened to. Then no channel can be opened.
 */
async function checkOpen(model: ChannelModel): Promise<void> {
  const channel = await model.createChannel()
  channel.on('error', () => {})
  await channel.close()
}

function socketOptions({ target, connectionName }: OpenLinkParts, signal: AbortSignal): object {
  return {
    ...target.tls,
    noDelay: true,
    keepAlive: true,
    clientProperties: { connection_name: connectionName },
    // Of the socket: the only way to end one that amqplib still opens, or whose server does not answer.
    signal,
  }
}

/** Whether a server that ended a plain connection without a word speaks TLS there. */
export async function speaksTls(
  { host, port }: RabbitmqEndpoint,
  clock: Clock,
  timeoutMs: number,
  ending: AbortSignal,
): Promise<boolean> {
  const socket = connectTls({ host, port, rejectUnauthorized: false })
  const onEnding = (): void => void socket.destroy()
  ending.addEventListener('abort', onEnding)
  const answered = new Promise<boolean>((resolve) => {
    socket.once('secureConnect', () => resolve(true))
    socket.once('close', () => resolve(false))
    socket.on('error', () => {})
  })
  try {
    return await withDeadline(clock, timeoutMs, answered, () => new Error('no answer')).catch(() => false)
  } finally {
    ending.removeEventListener('abort', onEnding)
    socket.destroy()
  }
}

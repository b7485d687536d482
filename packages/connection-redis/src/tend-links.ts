import type { Clock } from '@multinode/core'
import type { Redis } from 'ioredis'
import type { RedisClient } from './create-client.ts'
import { isFatalForConnect } from './redis-errors.ts'

/** Cuts connections of a client of ours that ioredis would keep, so that they are tried again. */
export function tendLinks(client: RedisClient, clock: Clock): void {
  // By its shape, because an app may have another copy of ioredis.
  if ('nodes' in client) client.on('+node', (node: Redis) => tendNode(node, clock))
  else tend(client, () => client.disconnect(true), clock)
}

function tendNode(node: Redis, clock: Clock): void {
  tend(node, () => node.disconnect(), clock)
  // While a slot moves, ioredis sends ASKING and forgets the answer: if it fails, that would end the process.
  const asking = node.asking.bind(node)
  node.asking = () => {
    const answer = asking()
    answer.catch(() => {})
    return answer
  }
}

function tend(link: Redis, cut: () => void, clock: Clock): void {
  // When a server refuses login or database at a reconnect, ioredis goes on without login, or in database 0. They may be allowed
  // later.
  link.on('error', (error: Error) => {
    if (isFatalForConnect(error)) cut()
  })
  // For ioredis an attempt is over when the server takes the connection, even if it never answers.
  const attemptMs = link.options.connectTimeout ?? 10_000
  let timer = { cancel: (): void => {} }
  link.on('connect', () => {
    timer = clock.setTimer(
      () => {
        link.emit('error', new Error(`the server was not ready within ${attemptMs} ms`))
        cut()
      },
      attemptMs,
      'background',
    )
  })
  for (const event of ['ready', 'close']) link.on(event, () => timer.cancel())
}

import {
  isNoScript,
  type RedisClient,
  type RedisConnection,
  type RedisScript,
  type RunningCall,
  toRedisError,
} from '@multinode/connection-redis'
import { MultinodeError } from '@multinode/core'

type Word = string | number | Buffer

/** A command of which all keys are in the slot of this one. */
export interface KeyedCommand {
  readonly key: string
  readonly words: readonly [name: string, ...args: Word[]]
  /** What does the same on a server that does not know the script. */
  readonly withSource?: readonly [name: string, ...args: Word[]]
}

export function scriptCall(
  script: RedisScript,
  keys: readonly [string, ...string[]],
  args: readonly Word[],
): KeyedCommand {
  const rest = [keys.length, ...keys, ...args]
  return {
    key: keys[0],
    words: ['evalsha', script.hash, ...rest],
    withSource: ['eval', script.source, ...rest],
  }
}

/** For what does no harm when it is done late. */
const wanted: RunningCall = { isOver: false }

/**
 * Each in its turn, in one pipeline for each master that has keys of them; what is refused because a slot has moved or a script is not known is sent
 * again, by itself, unless the call is over. Without a deadline: for {@link RedisConnection.run}.
 * @returns one for each, text as bytes; what failed is an `Error`
 */
export async function pipelineByMaster(
  connection: RedisConnection,
  commands: readonly KeyedCommand[],
  call: RunningCall = wanted,
): Promise<unknown[]> {
  const replies: unknown[] = []
  const send = async (address: string, indexes: readonly number[]): Promise<void> => {
    const group = indexes.flatMap((index) => commands[index] ?? [])
    const each = await sendTogether(connection.client, address, group, call)
    for (const [place, index] of indexes.entries()) replies[index] = each[place]
  }
  const groups = groupByMaster(connection, commands)
  await Promise.all([...groups].map(([address, indexes]) => send(address, indexes)))
  return replies
}

/** As {@link pipelineByMaster}; rejects with the first error, when all are settled. Of several some may have been carried out. */
export async function pipelineAll(
  connection: RedisConnection,
  commands: readonly KeyedCommand[],
  call: RunningCall = wanted,
): Promise<unknown[]> {
  const replies = await pipelineByMaster(connection, commands, call)
  const failure = replies.find((reply) => reply instanceof Error)
  if (failure === undefined) return replies
  throw commands.length === 1 ? failure : asPartial(failure, connection.address)
}

/** An error of a part of what was sent does not say that nothing was done. */
export function asPartial(error: unknown, address: string): MultinodeError {
  const { code, message, cause, details } = toRedisError(error, {
    address,
    operation: 'a part',
    outcome: 'unknown',
  })
  return new MultinodeError(code, message, { backend: 'redis', outcome: 'unknown', cause, details })
}

function groupByMaster(
  connection: RedisConnection,
  commands: readonly KeyedCommand[],
): ReadonlyMap<string, readonly number[]> {
  const groups = new Map<string, number[]>()
  for (const [index, { key }] of commands.entries()) {
    const address = connection.nodeOf(key)
    const group = groups.get(address)
    if (group === undefined) groups.set(address, [index])
    else group.push(index)
  }
  return groups
}

async function sendTogether(
  client: RedisClient,
  address: string,
  commands: readonly KeyedCommand[],
  call: RunningCall,
): Promise<unknown[]> {
  const node = nodeAt(client, address)
  if (node === undefined || commands.length === 1) return sendSingly(client, commands, call)
  const batch = commands.map(({ words }) => ['callBuffer', ...words])
  const results = (await node.pipeline(batch).exec()) ?? []
  const replies = results.map(([error, reply]) => error ?? reply)
  if (call.isOver) return replies
  const again = replies.flatMap((reply, index) => (isRefusedHere(reply) ? [index] : []))
  const refused = again.flatMap((index) => commands[index] ?? [])
  const repeated = await sendSingly(client, refused, call)
  for (const [place, index] of again.entries()) replies[index] = repeated[place]
  return replies
}

/** The first one before all others, because it brings the script. */
async function sendSingly(
  client: RedisClient,
  commands: readonly KeyedCommand[],
  call: RunningCall,
): Promise<unknown[]> {
  const [first, ...others] = commands
  if (first === undefined) return []
  const send = ({ words, withSource }: KeyedCommand): Promise<unknown> =>
    client
      .callBuffer(...words)
      .catch((error: unknown) => {
        if (withSource === undefined || !isNoScript(error) || call.isOver) throw error
        return client.callBuffer(...withSource)
      })
      .catch((error: unknown) => (error instanceof Error ? error : new Error(String(error))))
  const begun = await send(first)
  if (call.isOver) return [begun, ...others.map(() => new Error('not sent, because the call is over'))]
  return [begun, ...(await Promise.all(others.map(send)))]
}

function nodeAt(client: RedisClient, address: string): RedisClient | undefined {
  if (!('nodes' in client)) return client
  return client.nodes('master').find(({ options }) => `${options.host}:${options.port}` === address)
}

/** Surely not carried out, and fine elsewhere or with the script. */
function isRefusedHere(reply: unknown): boolean {
  return reply instanceof Error && /^(MOVED|ASK|TRYAGAIN|NOSCRIPT) /.test(reply.message)
}

import type { Redis } from 'ioredis'
import type { RedisClient } from './create-client.ts'
import type { RunningCall } from './running-call.ts'

type Command = readonly [name: string, ...args: (string | number)[]]

/** As many as ioredis follows. */
const maxRedirections = 16

/**
 * Commands in one round trip, on the node of a Cluster that has the first key among them.
 * @returns their replies
 * @throws the first error among them
 *
 * ioredis follows no redirection of a pipeline of which another command was carried out, as WAIT always is: here it is followed.
 */
export async function pipelined(
  client: RedisClient,
  commands: readonly Command[],
  call: RunningCall,
): Promise<unknown[]> {
  let target: { readonly node: RedisClient; readonly asking: boolean } = { node: client, asking: false }
  for (let redirections = 0; ; redirections += 1) {
    const { node, asking } = target
    const batch = [...(asking ? [['asking']] : []), ...commands].map((command) => [...command])
    const results = (await node.pipeline(batch).exec()) ?? []
    const error = results.find(([failure]) => failure !== null)?.[0]
    if (!error) return results.slice(-commands.length).map(([, reply]) => reply)
    const mayFollow = redirections < maxRedirections && !call.isOver
    const redirected = mayFollow ? followed(client, error) : undefined
    if (redirected === undefined) throw error
    target = redirected
  }
}

/** Undefined when the error is no redirection, or to a node that is not known yet. */
function followed(client: RedisClient, error: Error): { node: Redis; asking: boolean } | undefined {
  const [, word, address] = /^(MOVED|ASK) \d+ (\S+)$/.exec(error.message) ?? []
  if (word === undefined || !('refreshSlotsCache' in client)) return undefined
  if (word === 'MOVED') client.refreshSlotsCache()
  const node = client.nodes().find(({ options }) => `${options.host}:${options.port}` === address)
  return node && { node, asking: word === 'ASK' }
}

import { type RedisConnection, RedisScript } from '@multinode/connection-redis'
import { bumpLua } from './bump.lua.ts'
import { mintLua } from './mint.lua.ts'
import { pipelineAll, pipelineByMaster, scriptCall } from './pipelines.ts'
import { SharedTurn } from './shared-turn.ts'

const mintScript = new RedisScript('mint', mintLua)
const bumpScript = new RedisScript('bump', bumpLua)

/** Longer than what they guard, or that ends too early: with this its validity, never the other way round. */
const keptMs = 30 * 24 * 3_600_000
const renewedBelowMs = keptMs / 2
const mostKnown = 10_000

/** A version; undefined when there is none; an `Error` when it could not be read. */
type Answer = number | undefined | Error

/**
 * The versions of namespaces and tags: one key each. What is read or made is what is there at a moment between the call and its answer. Without
 * deadlines: for {@link RedisConnection.run}.
 */
export class VersionStore {
  readonly #connection: RedisConnection
  readonly #reads = new SharedTurn<Answer>((keys) => this.#read(keys))
  readonly #mints = new SharedTurn<Answer>((keys) => this.#mint(keys))
  /** Those seen last. */
  readonly #known = new Map<string, number>()

  constructor(connection: RedisConnection) {
    this.#connection = connection
  }

  /** Those that exist. One round trip, shared by all who ask in the same turn. */
  async current(keys: readonly string[]): Promise<ReadonlyMap<string, number>> {
    return chosen(await this.#reads.want(keys), keys)
  }

  /** All of them: those that do not exist are made. Cost as {@link current}. */
  async forWriting(keys: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const versions = chosen(await this.#mints.want(keys), keys)
    if (this.#known.size + keys.length > mostKnown) this.#known.clear()
    for (const [key, version] of versions) this.#known.set(key, version)
    return versions
  }

  /** What {@link forWriting} found last, if all are known: a guess. */
  guess(keys: readonly string[]): ReadonlyMap<string, number> | undefined {
    const versions = new Map<string, number>()
    for (const key of keys) {
      const version = this.#known.get(key)
      if (version === undefined) return undefined
      versions.set(key, version)
    }
    return versions
  }

  /** Changes them: no entry has them any more. One command for each. */
  async bump(keys: readonly string[]): Promise<void> {
    await pipelineAll(
      this.#connection,
      keys.map((key) => scriptCall(bumpScript, [key], [keptMs])),
    )
  }

  async #read(keys: readonly string[]): Promise<ReadonlyMap<string, Answer>> {
    const { client } = this.#connection
    const [only, ...others] = keys
    if (only === undefined) return new Map()
    if (others.length === 0) return new Map([[only, toAnswer(await client.get(only))]])
    if (!('nodes' in client)) return byKey(keys, await client.mget([...keys]))
    const gets = keys.map((key) => ({ key, words: ['get', key] as const }))
    return byKey(keys, await pipelineByMaster(this.#connection, gets))
  }

  async #mint(keys: readonly string[]): Promise<ReadonlyMap<string, Answer>> {
    const mints = keys.map((key) => scriptCall(mintScript, [key], [keptMs, renewedBelowMs]))
    return byKey(keys, await pipelineByMaster(this.#connection, mints))
  }
}

function byKey(keys: readonly string[], replies: readonly unknown[]): ReadonlyMap<string, Answer> {
  return new Map(keys.map((key, index) => [key, toAnswer(replies[index])]))
}

function toAnswer(reply: unknown): Answer {
  return reply instanceof Error ? reply : toVersion(reply)
}

/** From a reply of the server; undefined when there is none. */
export function toVersion(reply: unknown): number | undefined {
  return typeof reply === 'string' || Buffer.isBuffer(reply) ? Number(reply.toString()) : undefined
}

function chosen(answers: ReadonlyMap<string, Answer>, keys: readonly string[]): ReadonlyMap<string, number> {
  const versions = new Map<string, number>()
  for (const key of keys) {
    const answer = answers.get(key)
    if (answer instanceof Error) throw answer
    if (answer !== undefined) versions.set(key, answer)
  }
  return versions
}

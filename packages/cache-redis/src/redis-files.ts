import { type RedisConnection, RedisScript, slotPrefix } from '@multinode/connection-redis'
import type { FileDriver, StoredFile } from '@multinode/core'
import { maxBytes, tooLarge, unexpected } from './cache-server.ts'
import { getFileLua } from './get-file.lua.ts'
import { pipelineAll, scriptCall } from './pipelines.ts'
import { putFileLua } from './put-file.lua.ts'

const putScript = new RedisScript('put-file', putFileLua)
const getScript = new RedisScript('get-file', getFileLua)

/** Files on one server: a hash each. */
export class RedisFiles implements FileDriver {
  readonly #connection: RedisConnection
  readonly #clusterName: string

  constructor(connection: RedisConnection, clusterName: string) {
    this.#connection = connection
    this.#clusterName = clusterName
  }

  async put(
    name: string,
    { bytes, etag, contentType }: StoredFile,
    ttlMs: number | undefined,
    timeoutMs: number,
  ): Promise<void> {
    if (bytes.length > maxBytes) throw tooLarge(`The file ${name}`, bytes.length)
    await this.#connection.script(
      putScript,
      [this.#key(name)],
      [etag, contentType, ttlMs ?? '', bytes],
      timeoutMs,
    )
  }

  async get(
    name: string,
    known: readonly string[],
    timeoutMs: number,
  ): Promise<StoredFile | { readonly unchanged: string } | undefined> {
    const [reply] = await this.#connection.run('get-file', timeoutMs, () =>
      pipelineAll(this.#connection, [scriptCall(getScript, [this.#key(name)], known)]),
    )
    if (reply === null) return undefined
    const [etag, contentType, bytes]: readonly unknown[] = Array.isArray(reply) ? reply : []
    if (Buffer.isBuffer(etag) && contentType === undefined) return { unchanged: etag.toString() }
    if (Buffer.isBuffer(etag) && Buffer.isBuffer(contentType) && Buffer.isBuffer(bytes)) {
      return { bytes, etag: etag.toString(), contentType: contentType.toString() }
    }
    throw unexpected(this.#connection.address, getScript, reply)
  }

  async delete(name: string, timeoutMs: number): Promise<void> {
    await this.#connection.command('unlink', [this.#key(name)], timeoutMs)
  }

  #key(name: string): string {
    return `${slotPrefix(this.#clusterName, 'cache-file', name)}:file`
  }
}

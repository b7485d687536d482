import { createHash } from 'node:crypto'

/** A Lua script, called by its hash. Every key it touches must be in KEYS, and all of them in one slot. */
export class RedisScript {
  readonly name: string
  readonly source: string
  readonly hash: string

  constructor(name: string, source: string) {
    this.name = name
    this.source = source
    this.hash = createHash('sha1').update(source).digest('hex')
  }
}

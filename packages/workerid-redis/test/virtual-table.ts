import type { ClaimRequest, RenewReply, RenewRequest, WindowReply } from '@multinode/core'
import type { RedisServer } from '@multinode/testbed'
import { Redis } from 'ioredis'
import { acquireLua } from '../src/acquire.lua.ts'
import { releaseLua } from '../src/release.lua.ts'
import { renewLua } from '../src/renew.lua.ts'

/** A defect put into the scripts on purpose: `from` becomes `to`, wherever it stands. */
export interface Flaw {
  readonly from: string
  readonly to: string
}

/** What a virtual server knows of itself. */
export interface VirtualServer {
  readonly clockMs: number
  /** The id of its replication history. */
  readonly history: string
}

/** The real scripts on a real Redis, with the clock and the replication history of a virtual server. */
export class VirtualTable {
  readonly #client: Redis
  readonly #scripts: Readonly<Record<'acquire' | 'renew' | 'release', string>>
  readonly #key: string
  #snapshots = 0

  constructor(server: RedisServer, key: string, flaw: Flaw | undefined) {
    const isThere = [acquireLua, renewLua, releaseLua].some((source) => source.includes(flaw?.from ?? ''))
    if (!isThere) throw new Error(`no script has ${flaw?.from}: the flaw is none`)
    this.#client = new Redis(server.url)
    this.#key = key
    this.#scripts = {
      acquire: virtual(acquireLua, flaw),
      renew: virtual(renewLua, flaw),
      release: virtual(releaseLua, flaw),
    }
  }

  async acquire(
    request: ClaimRequest & { readonly range: number; readonly isFirstStart: boolean },
    on: VirtualServer,
  ): Promise<{ readonly id: number; readonly window: WindowReply } | undefined> {
    const args = [...claim(request), request.range, -1, request.isFirstStart ? 1 : 0]
    const [status, id = 0, ...window] = await this.#run('acquire', args, on)
    return status === 1 ? { id, window: toWindow(window) } : undefined
  }

  async renew(request: RenewRequest, on: VirtualServer): Promise<RenewReply> {
    const { id, usedMs, window } = request
    const args = [...claim(request), id, usedMs, window.floorMs, window.ceilingMs, window.untilMs]
    const [status, ...rest] = await this.#run('renew', args, on)
    if (status === 1) return { status: 'renewed', ...toWindow(rest) }
    return status === 0 ? { status: 'later', retryAfterMs: rest[0] ?? 0 } : { status: 'lost' }
  }

  async release(id: number, token: string, usedMs: number, on: VirtualServer): Promise<void> {
    await this.#run('release', [token, id, usedMs], on)
  }

  async forget(): Promise<void> {
    await this.#client.del(this.#key)
  }

  /** @returns the name under which this state can be brought back */
  async keep(): Promise<string> {
    this.#snapshots += 1
    const name = `${this.#key}:${this.#snapshots}`
    await this.#client.copy(this.#key, name, 'REPLACE')
    return name
  }

  async bringBack(name: string): Promise<void> {
    if ((await this.#client.copy(name, this.#key, 'REPLACE')) === 0) await this.forget()
  }

  async close(): Promise<void> {
    await this.#client.quit()
  }

  async #run(
    name: 'acquire' | 'renew' | 'release',
    args: readonly (string | number)[],
    { clockMs, history }: VirtualServer,
  ): Promise<number[]> {
    const reply: unknown = await this.#client.eval(
      this.#scripts[name],
      1,
      this.#key,
      ...args,
      clockMs,
      history,
    )
    return Array.isArray(reply) ? reply.map(Number) : [Number(reply)]
  }
}

/** The text of a script whose clock and history come as its last two arguments. */
function virtual(source: string, flaw: Flaw | undefined): string {
  const changes: Flaw[] = [
    {
      from: "redis.call('TIME')",
      to: '{math.floor(ARGV[#ARGV - 1] / 1000), (ARGV[#ARGV - 1] % 1000) * 1000}',
    },
    { from: "redis.call('INFO', 'replication')", to: "'master_replid:' .. ARGV[#ARGV]" },
    ...(flaw === undefined ? [] : [flaw]),
  ]
  return changes.reduce((text, { from, to }) => text.replaceAll(from, to), source)
}

function claim({ token, ownerKey, nowMs, terms }: ClaimRequest): (string | number)[] {
  return [token, ownerKey, nowMs, terms.leaseMs, terms.quarantineMs, terms.maxSkewMs, terms.maxAheadMs]
}

function toWindow([floorMs = 0, ceilingMs = 0, untilMs = 0, backendMs = 0]: readonly number[]): WindowReply {
  return { floorMs, ceilingMs, untilMs, backendMs }
}

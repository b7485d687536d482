import { randomUUID } from 'node:crypto'
import { MultinodeError, type TimestampWindow } from '@multinode/core'
import { Redis } from 'ioredis'
import { noWindow } from './id-maker.ts'

const renewLua = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
`

/** The control: one worker id by SET NX PX, renewed every third of it; who hears that it is another's stops at once. */
export class NaiveLease implements AsyncDisposable {
  readonly id = 0
  readonly #client: Redis
  readonly #leaseMs: number
  readonly #token = randomUUID()
  #timer: NodeJS.Timeout | undefined
  #isLost = false

  private constructor(client: Redis, leaseMs: number) {
    this.#client = client
    this.#leaseMs = leaseMs
  }

  /** Undefined when another has it. */
  static async acquire(url: string, leaseMs: number): Promise<NaiveLease | undefined> {
    const lease = new NaiveLease(new Redis(url), leaseMs)
    if (await lease.#take()) return lease
    await lease[Symbol.asyncDispose]()
    return undefined
  }

  claim(): TimestampWindow {
    return { ...noWindow, ceiling: () => this.#ceilingMs() }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer)
    this.#client.disconnect()
  }

  async #take(): Promise<boolean> {
    if ((await this.#client.set('naive', this.#token, 'PX', this.#leaseMs, 'NX')) === null) return false
    this.#timer = setInterval(() => void this.#renew(), this.#leaseMs / 3)
    return true
  }

  async #renew(): Promise<void> {
    const reply = await this.#client.eval(renewLua, 1, 'naive', this.#token, this.#leaseMs).catch(() => 1)
    if (reply === 0) this.#isLost = true
  }

  #ceilingMs(): number {
    if (this.#isLost) throw new MultinodeError('LOST', 'Another has the worker id.')
    return Infinity
  }
}

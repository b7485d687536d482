import { type NodeChild, serversAvailable, spawnNode, startRedis, waitUntil } from '@multinode/testbed'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'

const hourMs = 3_600_000
const leaseKey = '{shop:lock:key}:lease'
const ttlMs = 1_500
/** Of one that is renewed: two thirds of it are what a renewal may be late by. */
const renewedTtlMs = 4_500

// The clock needs libfaketime.
describe
  .runIf(serversAvailable() && process.platform === 'linux')
  .concurrent('a holder whose time of day is moved', () => {
    it.each([
      { moves: [-hourMs] },
      { moves: [-hourMs, hourMs] },
      { moves: [hourMs, -hourMs] },
      { moves: [-hourMs, 2 * hourMs, -hourMs] },
    ])('by $moves ms never believes that it holds a lease that has ended', async ({ moves }) => {
      await using holder = await Holder.start()
      await holder.tell(`acquire ${ttlMs}`, 'acquired')
      for (const move of moves) {
        holder.moveClock(move)
        await holder.look()
      }
      const after = await waitUntil('the end of the lease', async () => {
        // In this order: the lease had ended before the holder looked.
        const isOver = (await holder.expiresAt()) === undefined
        const look = await holder.look()
        return isOver ? look : undefined
      })
      expect(after.held).toBe(false)
      const isBehind = moves.reduce((sum, move) => sum + move, 0) < 0
      expect(after.naivelyHeld, 'the control: set back, the time of day alone says that it is held').toBe(
        isBehind,
      )
      await waitUntil('the signal', async () => (await holder.look()).signalled)
    })

    it('an hour ahead takes its lease for lost at once, and is told soon', async () => {
      await using holder = await Holder.start()
      await holder.tell('acquire 60000', 'acquired')
      expect(await holder.look()).toMatchObject({ held: true, signalled: false })
      holder.moveClock(hourMs)
      expect((await holder.look()).held).toBe(false)
      // No timer of the lease itself is due for a minute.
      await waitUntil('the signal', async () => (await holder.look()).signalled)
      expect(await holder.expiresAt(), 'early: the server has it still').toBeGreaterThan(Date.now())
    })

    it('an hour back keeps a lease that is renewed', async () => {
      await using holder = await Holder.start()
      await holder.tell(`run ${renewedTtlMs}`, 'acquired')
      holder.moveClock(-hourMs)
      const expiresAt = (await holder.expiresAt()) ?? NaN
      await waitUntil('renewals', async () => ((await holder.expiresAt()) ?? NaN) > expiresAt + renewedTtlMs)
      expect((await holder.look()).held).toBe(true)
      expect(await holder.tell('end', 'ended')).toBe('ended kept')
    })

    it('an hour ahead loses a lease that is renewed, too, gives it back, and can have the next one', async () => {
      await using holder = await Holder.start()
      await holder.tell(`run ${ttlMs}`, 'acquired')
      holder.moveClock(hourMs)
      await waitUntil('the signal', async () => (await holder.look()).signalled)
      expect(await holder.tell('end', 'ended')).toBe('ended lost')
      expect(await holder.expiresAt()).toBeUndefined()
      await holder.tell('acquire 60000', 'acquired')
      expect((await holder.look()).held).toBe(true)
    })
  })

interface Look {
  readonly held: boolean
  readonly signalled: boolean
  /** What somebody believes who goes by the time of day alone. */
  readonly naivelyHeld: boolean
}

/** A process with a clock of its own, and the server that it is on. */
class Holder implements AsyncDisposable {
  readonly #admin: Redis
  readonly #child: NodeChild
  readonly #stack: AsyncDisposableStack

  private constructor(admin: Redis, child: NodeChild, stack: AsyncDisposableStack) {
    this.#admin = admin
    this.#child = child
    this.#stack = stack
  }

  static async start(): Promise<Holder> {
    await using stack = new AsyncDisposableStack()
    const { url } = stack.use(await startRedis())
    const admin = stack.adopt(new Redis(url), async (client) => client.disconnect())
    const file = new URL('./fixtures/wall-clock-holder.ts', import.meta.url)
    const child = stack.use(await spawnNode(file, { env: { REDIS_URL: url }, clock: true }))
    await child.nextLine('ready')
    return new Holder(admin, child, stack.move())
  }

  moveClock(ms: number): void {
    this.#child.moveClock(ms)
  }

  async tell(line: string, answer: string): Promise<string> {
    this.#child.send(line)
    return this.#child.nextLine(answer)
  }

  async look(): Promise<Look> {
    const [, held, signalled, naive] = (await this.tell('look', 'seen')).split(' ')
    return {
      held: held === 'held',
      signalled: signalled === 'signalled',
      naivelyHeld: naive === 'naive-held',
    }
  }

  /** By the server; `undefined` when it has ended. */
  async expiresAt(): Promise<number | undefined> {
    const expiresAt = await this.#admin.pexpiretime(leaseKey)
    return expiresAt < 0 ? undefined : expiresAt
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync()
  }
}

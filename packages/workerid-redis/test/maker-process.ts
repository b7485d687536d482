import { type NodeChild, spawnNode, waitUntil } from '@multinode/testbed'
import type { Group } from './fixtures/group.ts'
import type { MadeIds } from './made-ids.ts'

export interface MakerOptions {
  readonly name: string
  readonly url: string
  readonly groups: readonly Group[]
  readonly made: MadeIds
  /** So that its time of day can be moved. */
  readonly clock?: boolean
}

/** A process that makes ids, and tells which into `made`. */
export class MakerProcess implements AsyncDisposable {
  readonly name: string
  readonly child: NodeChild
  readonly #made: MadeIds
  /** What it said besides: `error`, `failed`, `stopped`. */
  readonly #said: string[] = []
  readonly #reading: Promise<void>

  private constructor(child: NodeChild, { name, made }: MakerOptions) {
    this.name = name
    this.child = child
    this.#made = made
    this.#reading = this.#read()
  }

  /** Connected, and without a worker id. */
  static async start(options: MakerOptions): Promise<MakerProcess> {
    const { url, groups, clock = false } = options
    const env = { REDIS_URL: url, GROUPS: JSON.stringify(groups) }
    const child = await spawnNode(new URL('./fixtures/maker.ts', import.meta.url), { env, clock })
    await child.nextLine('ready', 30_000)
    return new MakerProcess(child, options)
  }

  go(): void {
    this.child.send('go')
  }

  /** Until all its worker ids are given back. */
  async stop(): Promise<void> {
    this.child.send('stop')
    await this.saying(/^stopped$/)
  }

  /** SIGKILL; when this returns, all that it ever said is known. */
  async kill(): Promise<void> {
    await this.child.kill()
    await this.#reading
  }

  /** Makes ids in all these groups from now on. */
  async making(groups: readonly Group[]): Promise<void> {
    const sinceMs = nowMs()
    const isMaking = ({ name }: Group): boolean => this.#made.isMaking(name, this.name, sinceMs)
    await waitUntil(
      `${this.name} to make ids; it said ${this.#said.join(' / ')}`,
      () => groups.every(isMaking),
      {
        everyMs: 5,
        deadlineMs: 20_000,
      },
    )
  }

  /** The first such line that was not asked for before, when it is said. */
  async saying(match: RegExp): Promise<string> {
    const take = (): string | undefined => {
      const index = this.#said.findIndex((line) => match.test(line))
      return index < 0 ? undefined : this.#said.splice(index, 1).join()
    }
    return waitUntil(`${this.name} to say ${match}`, take, { everyMs: 5 })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.child.stop()
    await this.#reading
  }

  async #read(): Promise<void> {
    for (;;) {
      const line = await this.child.nextLine('', 600_000).catch(() => undefined)
      if (line === undefined) return
      if (!this.#made.note(this.name, line)) this.#said.push(line)
    }
  }
}

/** The clock of what makers tell. */
export function nowMs(): number {
  return Number(process.hrtime.bigint() / 1_000_000n)
}

import { join } from 'node:path'
import {
  type NodeChild,
  type RabbitmqServer,
  serversAvailable,
  spawnNode,
  startRabbitmq,
  temporaryFolder,
  waitUntil,
} from '@multinode/testbed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { journalOf } from './journal.ts'
import { node } from './node.ts'
import { untilEmpty } from './settled-queue.ts'

const neighbours = 200
const maxCrashes = 2

describe.skipIf(!serversAvailable())('a job whose handler ends the process', { timeout: 120_000 }, () => {
  let server: RabbitmqServer
  beforeAll(async () => {
    server = await startRabbitmq()
  })
  afterAll(() => server.stop())

  it(`is a dead letter after ${maxCrashes} crashes and one start more, and all its neighbours run`, async ({
    annotate,
  }) => {
    const clusterName = 'poison'
    await using one = await node(server.url, { clusterName })
    const queue = one.queues.open<string>('jobs')
    await using workers = new Restarted(server, clusterName, maxCrashes)
    const names = Array.from({ length: neighbours }, (_, index) => `${index}`)
    const payloads = [...names.slice(0, neighbours / 2), 'poison', ...names.slice(neighbours / 2)]
    await queue.addMany(payloads.map((payload) => ({ payload })))
    workers.start(2)
    const isDead = async (): Promise<boolean> => (await queue.counts()).dead === 1
    await waitUntil('a dead letter', isDead, { deadlineMs: 60_000 })
    await untilEmpty(server, 'poison.queue.jobs')
    // The server may hear of an end sooner than this process.
    await waitUntil('the last end', () => workers.crashes > maxCrashes)
    const done = workers.written('done')
    await annotate(`${workers.crashes} crashes, ${done.length - new Set(done).size} neighbours run twice`)
    expect(await queue.deadLetters.list()).toMatchObject([
      { payload: 'poison', failure: { reason: 'crashed' } },
    ])
    expect(new Set(done)).toEqual(new Set(names))
    expect(workers.written('poisoned')).toHaveLength(maxCrashes + 1)
    expect(workers.crashes, 'the control: each start was a crash').toBe(maxCrashes + 1)
  })

  it('the control: is started again and again where crashes are not limited', async () => {
    const clusterName = 'unlimited'
    await using one = await node(server.url, { clusterName })
    const queue = one.queues.open<string>('jobs')
    await using workers = new Restarted(server, clusterName, 1_000)
    await queue.add('poison')
    workers.start(2)
    const isStartedAgain = (): boolean => workers.written('poisoned').length >= 5
    await waitUntil('a fifth start', isStartedAgain, { deadlineMs: 60_000 })
    expect(await queue.counts()).toMatchObject({ dead: 0 })
  })
})

/** Worker processes that are started again whenever they end. */
class Restarted implements AsyncDisposable {
  readonly #server: RabbitmqServer
  readonly #clusterName: string
  readonly #maxCrashes: number
  readonly #folder = temporaryFolder('poison')
  readonly #living = new Set<NodeChild>()
  #loops: readonly Promise<void>[] = []
  #isOver = false
  crashes = 0

  constructor(server: RabbitmqServer, clusterName: string, maxCrashes: number) {
    this.#server = server
    this.#clusterName = clusterName
    this.#maxCrashes = maxCrashes
  }

  start(count: number): void {
    this.#loops = Array.from({ length: count }, () => this.#keepUp())
  }

  written(what: string): string[] {
    return journalOf(this.#journal, what)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true
    await Promise.all([...this.#living].map((child) => child.stop()))
    await Promise.all(this.#loops)
    this.#folder.remove()
  }

  get #journal(): string {
    return join(this.#folder.path, 'journal')
  }

  async #keepUp(): Promise<void> {
    while (!this.#isOver) {
      await using child = await spawnNode(new URL('./fixtures/poisoned-worker.ts', import.meta.url), {
        env: {
          RABBITMQ_URL: this.#server.url,
          CLUSTER: this.#clusterName,
          JOURNAL: this.#journal,
          MAX_CRASHES: `${this.#maxCrashes}`,
        },
      })
      this.#living.add(child)
      if (this.#isOver) return
      const { code } = await child.exited
      this.#living.delete(child)
      if (code === 1) this.crashes += 1
    }
  }
}

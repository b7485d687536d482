import {
  figure,
  type NodeChild,
  seededRandom,
  serversAvailable,
  spawnNode,
  startRedis,
  waitUntil,
} from '@multinode/testbed'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { Resource } from './fixtures/resource.ts'

const stops = figure({ slice: 12, full: 200 })
const sections = figure({ slice: 50, full: 1_000 })
const names = ['a', 'b', 'c']
/** Each of them has two. */
const workers = 2 * names.length
/** Of the control: every second stop or so loses some, so that all of them could hardly miss. */
const mostStops = 30

/** What the resource looks at tokens for. */
type Fence = 'read and write' | 'write' | 'nothing'

interface Outcome {
  readonly sections: number
  readonly accepted: number
  /** Accepted writes of which the resource knows nothing any more. */
  readonly lost: number
}

describe.skipIf(!serversAvailable())(
  'processes that are stopped again and again, holding the lock or not',
  () => {
    it('lose no update where the resource looks at tokens as it is read and as it is written', async () => {
      const outcome = await stopAndGo('read and write')
      expect(outcome.lost).toBe(0)
      expect(outcome.sections).toBeGreaterThanOrEqual(sections)
      expect(outcome.accepted).toBeGreaterThan(0)
    }, 300_000)

    it('the control: lose updates where it looks at none', async () => {
      const outcome = await stopAndGo('nothing')
      expect(outcome.lost).toBeGreaterThan(0)
    }, 300_000)

    // Rare, because it takes one who goes on while its successor is between reading and writing.
    it.runIf(stops === 200)(
      'the control: lose updates also where it looks at them as it is written alone',
      async () => {
        const outcome = await stopAndGo('write')
        expect(outcome.lost).toBeGreaterThan(0)
      },
      300_000,
    )
  },
)

/** Stops one of three processes, most often the one that has the lock, until the others have gone on without it; then lets it go on. Where nothing is looked at, only until something is lost. */
async function stopAndGo(fence: Fence): Promise<Outcome> {
  const random = seededRandom()
  await using server = await startRedis()
  await using stack = new AsyncDisposableStack()
  const admin = stack.adopt(new Redis(server.url), async (client) => client.disconnect())
  const children = new Map<string, NodeChild>()
  for (const name of names) {
    const env = { REDIS_URL: server.url, FENCE: fence, NAME: name }
    const child = await spawnNode(new URL('./fixtures/updater.ts', import.meta.url), { env })
    children.set(name, stack.use(child))
  }
  const done = async (): Promise<number> => Number(await admin.get('sections'))
  const sectionsMore = async (more: number): Promise<void> => {
    const enough = (await done()) + more
    await waitUntil(`${more} more sections`, async () => (await done()) >= enough, { everyMs: 5 })
  }
  const resource = new Resource(admin)
  // What is begun is counted, and each worker may have one that is not written yet.
  const hasLost = async (): Promise<boolean> => (await done()) - (await resource.read(undefined)) > workers
  const isOver = async (stop: number): Promise<boolean> =>
    fence === 'nothing' ? stop >= mostStops || (await hasLost()) : stop >= stops && (await done()) >= sections
  await sectionsMore(10)
  for (let stop = 0; !(await isOver(stop)); stop += 1) {
    const name = random.next() < 0.7 ? await admin.get('inside') : names[random.between(0, 2)]
    const child = children.get(name ?? '')
    if (child === undefined) throw new Error(`nobody is called ${name} (seed ${random.seed})`)
    await child.pause()
    await sectionsMore(random.between(1, 3))
    child.resume()
    await sectionsMore(random.between(1, 6))
  }
  const accepted = await Promise.all([...children.values()].map(acceptedBy))
  const total = accepted.reduce((sum, each) => sum + each, 0)
  const value = await resource.read(undefined)
  return { sections: await done(), accepted: total, lost: total - value }
}

async function acceptedBy(child: NodeChild): Promise<number> {
  child.send('stop')
  return Number((await child.nextLine('done')).split(' ')[1])
}

import { type NodeChild, serversAvailable, spawnNode, startRedis, stolenMs } from '@multinode/testbed'
import type { WorkerHolder } from '@multinode/core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const processes = 8
const acquirers = 8
const range = 32

/** What one of them was told. */
interface Answer {
  readonly id?: number
  readonly code?: string
  readonly details?: { readonly retryAfterMs: number; readonly holders: readonly WorkerHolder[] }
}

describe.skipIf(!serversAvailable())('64 who want one of 32 worker ids at the same moment', () => {
  const stack = new AsyncDisposableStack()
  let children: readonly NodeChild[]

  beforeAll(async () => {
    const server = stack.use(await startRedis())
    const env = { REDIS_URL: server.url, ACQUIRERS: String(acquirers), RANGE: String(range) }
    const file = new URL('./fixtures/acquirer.ts', import.meta.url)
    children = await Promise.all(Array.from({ length: processes }, () => spawnNode(file, { env })))
    for (const child of children) stack.use(child)
    await Promise.all(children.map((child) => child.nextLine('ready', 30_000)))
  })

  afterAll(() => stack.disposeAsync())

  it('get 32 different ones; the others are told at once who has them, and when to come again', async ({
    annotate,
  }) => {
    const { answers, tookMs } = await all('go')
    await annotate(`all 64 answered within ${Math.round(tookMs)} ms`)
    const ids = answers.map(({ id }) => id).filter((id) => id !== undefined)
    expect(ids.toSorted((a, b) => a - b)).toEqual(Array.from({ length: range }, (_, id) => id))
    const refused = answers.filter(({ id }) => id === undefined)
    expect(refused.map(({ code }) => code)).toEqual(Array.from({ length: range }, () => 'EXHAUSTED'))
    const details = refused.map((each) => each.details)
    // A lease and a quarantine by default.
    const isTrue = (ms = 0): boolean => Number.isInteger(ms) && ms > 0 && ms <= 30_000
    expect(details.filter((each) => !isTrue(each?.retryAfterMs))).toEqual([])
    expect(details.filter((each) => holdersIn(each?.holders) !== range)).toEqual([])
    // Seconds for what takes a tenth of one on an idle machine: nobody waited for a lease to end.
    expect(tookMs).toBeLessThan(10_000 + stolenMs())
  })

  it('the control: some get the same one where they look first and take it then', async () => {
    const { answers } = await all('go naively')
    const ids = answers.map(({ id }) => id).filter((id) => id !== undefined)
    expect(new Set(ids).size).toBeLessThan(ids.length)
  })

  async function all(line: string): Promise<{ answers: readonly Answer[]; tookMs: number }> {
    const startedAtMs = performance.now()
    for (const child of children) child.send(line)
    const answers = await Promise.all(children.map(answersOf))
    return { answers: answers.flat(), tookMs: performance.now() - startedAtMs }
  }
})

async function answersOf(child: NodeChild): Promise<readonly Answer[]> {
  const line = await child.nextLine('done', 30_000)
  const answers: readonly Answer[] = JSON.parse(line.slice('done '.length))
  return answers
}

/** How many different ids are held, by as many owners. */
function holdersIn(holders: readonly WorkerHolder[] = []): number {
  const held = holders.filter(({ state }) => state === 'held')
  return Math.min(new Set(held.map(({ id }) => id)).size, new Set(held.map(({ ownerKey }) => ownerKey)).size)
}

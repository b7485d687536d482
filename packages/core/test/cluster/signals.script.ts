import { setTimeout } from 'node:timers/promises'
import { type Cluster, createCluster } from '../../src/index.ts'
import { Later, never, turn } from '../support/outcome.ts'

// One app per scenario: prints what happens to it. Most stay alive until a signal ends them.
const say = (line: string): void => {
  process.stdout.write(`${line}\n`)
}
const asked = new Later<void>()
const clusters: Cluster[] = []

async function open(name: string): Promise<Cluster> {
  const cluster = await createCluster({ env: {}, name })
  cluster.on('error', (error) => say(`error of ${name}: ${error.message}`))
  clusters.push(cluster)
  return cluster
}

/** Holds a lock until a while after the first signal. */
async function work(cluster: Cluster, until: Promise<unknown>): Promise<void> {
  await cluster.locks.run('work', async () => {
    await until
    await turn()
  })
  say(`work of ${cluster.node.clusterName} finished`)
}

async function closed(cluster: Cluster): Promise<void> {
  while (cluster.health().state !== 'closed') await setTimeout(1)
}

const beforeDrain = (): void => {
  say('before drain')
  asked.resolve()
}

const scenarios: Readonly<Record<string, () => Promise<void>>> = {
  async drains() {
    const cluster = await open('one')
    cluster.handleSignals({ beforeDrain })
    void work(cluster, asked.promise)
  },
  async 'hook fails'() {
    const cluster = await open('one')
    cluster.handleSignals({
      beforeDrain: async () => {
        asked.resolve()
        throw new Error('the server did not close')
      },
    })
    void work(cluster, asked.promise)
  },
  async 'work never ends'() {
    const cluster = await open('one')
    cluster.handleSignals({ beforeDrain })
    void work(cluster, never())
  },
  async 'deadline passes'() {
    const cluster = await open('one')
    cluster.handleSignals({ deadlineMs: 0, beforeDrain })
    void work(cluster, never())
  },
  async 'hook hangs'() {
    const cluster = await open('one')
    cluster.handleSignals({ deadlineMs: 50, beforeDrain: () => never() })
  },
  async 'drained before'() {
    const cluster = await open('one')
    cluster.handleSignals({ deadlineMs: 50 })
    void work(cluster, never())
    void cluster.drain({ deadlineMs: 60_000 })
  },
  async 'two cluster objects'() {
    const [quick, slow] = [await open('quick'), await open('slow')]
    // Long enough for a signal to arrive that is sent again too soon.
    const quickIsGone = asked.promise.then(() => quick.close()).then(() => setTimeout(100))
    slow.handleSignals({ beforeDrain })
    quick.handleSignals()
    void work(slow, quickIsGone)
  },
  async 'somebody else listens'() {
    const cluster = await open('one')
    process.on('SIGTERM', () => {
      say('heard by somebody else')
      // Long enough for a signal to arrive that is sent again.
      void closed(cluster)
        .then(() => setTimeout(100))
        .then(() => process.exit(3))
    })
    cluster.handleSignals({ beforeDrain })
    void work(cluster, asked.promise)
  },
  async 'no signal'() {
    const cluster = await open('one')
    await cluster.locks.run('work', () => {})
    say(
      `alive because of: ${process
        .getActiveResourcesInfo()
        .filter((name) => name !== 'PipeWrap')
        .join()}`,
    )
  },
}

const scenario = process.argv[2] ?? ''
await scenarios[scenario]?.()
if (scenario !== 'no signal') setInterval(() => {}, 60_000)
process.on('exit', () => say(`exit, ${clusters.map((cluster) => cluster.health().state).join()}`))
say('ready')

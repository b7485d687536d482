/**
 * The price of core itself. Aims, not judged here: less than 5 us a call over the bare memory driver, nothing
 * allocated for tracing that nobody listens to, import < 30 ms and < 2 MB of heap, createCluster on memory < 10 ms.
 */
import { tracingChannel } from 'node:diagnostics_channel'
import { type LockDriver, Locks } from '@multinode/core'
import { capabilityContext, memoryLock, pluginContext } from '@multinode/core/testing'
import type { Bench, BenchCase, Round } from './harness.ts'
import { installCore, type InstalledCore } from './installed-core.ts'

const bench: Bench = {
  about: 'what core costs: the portable type over the bare driver, import, heap, createCluster on memory',
  async prepare(resources) {
    const driver = await memoryLock.create(pluginContext())
    resources.defer(() => driver.close())
    const core = await installCore(resources)
    return [...timeOfCalls(driver), ...heapOfCalls(core), ...costOfImport(core), ...timeOfStart(core)]
  },
}

export default bench

/** Both calls of a pair count: the figure is the time of a pair, divided by two. */
const pairs = 20_000

function timeOfCalls(driver: LockDriver): BenchCase[] {
  const locks = new Locks(driver, capabilityContext('lock', 'memory'))
  const unit = 'us a call'
  const name = 'lock: acquire + release, halved'
  const raw = perCall(() => bareDriver(driver))
  const ours = perCall(() => portableType(locks))
  return [
    { name, unit, better: 'lower', ours, raw },
    { name: `${name}; traced`, unit, better: 'lower', ours: traced(ours), raw },
  ]
}

function perCall(work: () => Promise<void>): Round {
  return async () => {
    const startedAt = performance.now()
    await work()
    return ((performance.now() - startedAt) * 1000) / (pairs * 2)
  }
}

async function portableType(locks: Locks): Promise<void> {
  for (let pair = 0; pair < pairs; pair += 1) {
    const lease = await locks.acquire('key')
    await lease.release()
  }
}

/** With an owner of its own for each acquisition, as the contract of drivers demands. */
async function bareDriver(driver: LockDriver): Promise<void> {
  for (let pair = 0; pair < pairs; pair += 1) {
    const owner = `node:${pair}`
    await driver.acquire({ key: 'key', owner, ttlMs: 30_000, waitMs: 10_000 }, 5_000)
    await driver.release('key', owner, 5_000)
  }
}

/** The same while somebody listens to all events of acquire and release. */
function traced(round: Round): Round {
  const channels = ['multinode:lock.acquire', 'multinode:lock.release'].map((name) => tracingChannel(name))
  const ignore = (): void => {}
  const listener = { start: ignore, end: ignore, asyncStart: ignore, asyncEnd: ignore, error: ignore }
  return async () => {
    for (const channel of channels) channel.subscribe(listener)
    try {
      return await round()
    } finally {
      for (const channel of channels) channel.unsubscribe(listener)
    }
  }
}

/**
 * Nothing is collected while bytes are counted: the young generation is larger than all that the program allocates.
 * And nothing is optimized, because the compiler removes some allocations, and not the same ones each time; so these
 * figures are a little higher than in real use, and equal from run to run within half a percent.
 */
const countingFlags = [
  '--expose-gc',
  '--min-semi-space-size=256',
  '--max-semi-space-size=256',
  '--no-opt',
  '--no-maglev',
  '--no-sparkplug',
]

/** How much the heap grows per call; what tracing costs is seen best here. */
function heapOfCalls(core: InstalledCore): BenchCase[] {
  const grow =
    (work: string): Round =>
    () =>
      core.measure(heapGrowth(work), countingFlags)
  const portable = `${String(portableType)}; const work = () => portableType(locks)`
  const listening = `
    const listener = { start() {}, end() {}, asyncStart() {}, asyncEnd() {}, error() {} }
    for (const name of ['acquire', 'release']) tracingChannel('multinode:lock.' + name).subscribe(listener)`
  const raw = grow(`${String(bareDriver)}; const work = () => bareDriver(driver)`)
  const unit = 'bytes a call'
  const name = 'lock: acquire + release, halved; heap'
  return [
    { name, unit, better: 'lower', ours: grow(portable), raw },
    { name: `${name}; traced`, unit, better: 'lower', ours: grow(`${portable}; ${listening}`), raw },
  ]
}

/** A program that runs `work` once to have made all that stays, and once to be measured. Fails if it was collected. */
function heapGrowth(work: string): string {
  return `
    import { tracingChannel } from 'node:diagnostics_channel'
    import { GCProfiler } from 'node:v8'
    import { Locks } from '@multinode/core'
    import { capabilityContext, memoryLock, pluginContext } from '@multinode/core/testing'
    const pairs = ${pairs / 4}
    const driver = await memoryLock.create(pluginContext())
    const locks = new Locks(driver, capabilityContext('lock', 'memory'))
    ${work}
    await work()
    gc()
    const profiler = new GCProfiler()
    profiler.start()
    const before = process.memoryUsage().heapUsed
    await work()
    const figure = (process.memoryUsage().heapUsed - before) / (pairs * 2)
    if (profiler.stop().statistics.length > 0) throw new Error('collected while counting')`
}

function costOfImport(core: InstalledCore): BenchCase[] {
  const time = (specifier: string): Round => {
    return () =>
      core.measure(`
        const startedAt = performance.now()
        await import('${specifier}')
        const figure = performance.now() - startedAt`)
  }
  const heap = (specifier: string): Round => {
    return () =>
      core.measure(
        `const used = () => { gc(); gc(); return process.memoryUsage().heapUsed }
        const before = used()
        await import('${specifier}')
        const figure = (used() - before) / 1e6`,
        ['--expose-gc'],
      )
  }
  const sides = (measure: (specifier: string) => Round): Pick<BenchCase, 'ours' | 'raw' | 'peers'> => ({
    ours: measure('@multinode/core'),
    raw: measure('data:text/javascript,'),
    peers: { '@sindresorhus/is alone': measure('@sindresorhus/is') },
  })
  return [
    { name: 'import of core; raw is an empty module', unit: 'ms', better: 'lower', ...sides(time) },
    { name: 'heap of core; raw is an empty module', unit: 'MB', better: 'lower', ...sides(heap) },
  ]
}

/** The cluster object on memory, made and closed: once in a fresh process that has imported core, and again and again. */
function timeOfStart(core: InstalledCore): BenchCase[] {
  const program = (warmUp: number, count: number): Round => {
    return () =>
      core.measure(`
        import { createCluster } from '@multinode/core'
        const start = async (count) => {
          for (let each = 0; each < count; each += 1) await (await createCluster({ env: {} })).close()
        }
        await start(${warmUp})
        const startedAt = performance.now()
        await start(${count})
        const figure = (performance.now() - startedAt) / ${count}`)
  }
  const name = 'createCluster on memory + close'
  return [
    { name: `${name}; first in its process`, unit: 'ms', better: 'lower', ours: program(0, 1) },
    { name: `${name}; warm`, unit: 'ms', better: 'lower', ours: program(200, 500) },
  ]
}

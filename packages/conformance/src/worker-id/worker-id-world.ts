import { randomBytes } from 'node:crypto'
import { type WorkerIdDriver, WorkerIds } from '@multinode/core'
import { capabilityContext, pluginContext } from '@multinode/core/testing'
import type { WorkerIdFaults, WorkerIdHarness } from './worker-id-harness.ts'

/** The deadline that cases give a single driver call: none is about patience, and a busy machine stands still for a second or two. */
export const callMs = 5_000

/** What one case works with: nodes of one cluster that nobody else uses. Closed by the suite. */
export class WorkerIdWorld {
  readonly faults: WorkerIdFaults
  readonly #harness: WorkerIdHarness
  readonly #clusterName = `conformance-${randomBytes(6).toString('hex')}`
  readonly #drivers: WorkerIdDriver[] = []
  readonly #workerIds: WorkerIds[] = []
  #ownerKeys = 0

  constructor(harness: WorkerIdHarness) {
    this.#harness = harness
    this.faults = harness.faults ?? {}
  }

  /** A node of its own, seen from below. */
  async driver(clusterSuffix = ''): Promise<WorkerIdDriver> {
    const plugin = this.#harness.plugin()
    const clusterName = this.#clusterName + clusterSuffix
    const driver = await plugin.create(pluginContext({ clusterName, callTimeoutMs: callMs }))
    this.#drivers.push(driver)
    return driver
  }

  /** A node of its own, as an app sees it; its wall clock is ahead by `aheadMs`. */
  async workerIds({ aheadMs = 0 }: { aheadMs?: number } = {}): Promise<WorkerIds> {
    const { backend } = this.#harness.plugin()
    const { clock, ...context } = capabilityContext('workerid', backend, {
      clusterName: this.#clusterName,
      callTimeoutMs: callMs,
      // Cleaning up after a fault may fail; what matters of it is what the case observes.
      report: () => {},
    })
    const shifted = { ...clock, wallMs: () => clock.wallMs() + aheadMs }
    const workerIds = new WorkerIds(await this.driver(), { ...context, clock: shifted })
    this.#workerIds.push(workerIds)
    return workerIds
  }

  /** Nobody else's owner key. */
  ownerKey(): string {
    this.#ownerKeys += 1
    return `owner-${this.#ownerKeys}`
  }

  async close(): Promise<void> {
    await Promise.all(this.#workerIds.map((workerIds) => workerIds.close()))
    await Promise.all(this.#drivers.map((driver) => driver.close()))
  }
}

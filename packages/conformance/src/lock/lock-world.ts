import { randomBytes } from 'node:crypto'
import { type LockDriver, Locks } from '@multinode/core'
import { capabilityContext, pluginContext } from '@multinode/core/testing'
import type { LockFaults, LockHarness } from './lock-harness.ts'

/** The deadline that cases give a single driver call: none is about patience, and a busy machine stands still for a second or two. */
export const callMs = 5_000

/** What one case works with: nodes of one cluster that nobody else uses. Closed by the suite. */
export class LockWorld {
  readonly faults: LockFaults
  readonly #harness: LockHarness
  readonly #clusterName = `conformance-${randomBytes(6).toString('hex')}`
  readonly #drivers: LockDriver[] = []
  readonly #locks: Locks[] = []
  #owners = 0

  constructor(harness: LockHarness) {
    this.#harness = harness
    this.faults = harness.faults ?? {}
  }

  /** A node of its own, seen from below. */
  async driver(): Promise<LockDriver> {
    const plugin = this.#harness.plugin()
    const driver = await plugin.create(
      pluginContext({ clusterName: this.#clusterName, callTimeoutMs: callMs }),
    )
    this.#drivers.push(driver)
    return driver
  }

  /** A node of its own, as an app sees it. */
  async locks({ callTimeoutMs = callMs }: { readonly callTimeoutMs?: number } = {}): Promise<Locks> {
    const { backend } = this.#harness.plugin()
    const context = capabilityContext('lock', backend, {
      clusterName: this.#clusterName,
      callTimeoutMs,
      // Cleaning up after a fault may fail; what matters of it is what the case observes.
      report: () => {},
    })
    const locks = new Locks(await this.driver(), context)
    this.#locks.push(locks)
    return locks
  }

  /** Nobody else's owner id. */
  owner(): string {
    this.#owners += 1
    return `owner-${this.#owners}`
  }

  async close(): Promise<void> {
    await Promise.all(this.#locks.map((locks) => locks.close()))
    await Promise.all(this.#drivers.map((driver) => driver.close()))
  }
}

import type { LockDriver, LockPlugin, PluginContext } from '../../src/index.ts'
import { pluginApi } from '../../src/index.ts'
import { systemClock } from '../../src/runtime/clock.ts'
import { SteeredLock } from './steered-lock.ts'

interface Behaviour {
  readonly backend?: string
  readonly options?: Readonly<Record<string, unknown>>
  /** What `create` waits for before it gives the driver, or fails with. */
  readonly opening?: () => Promise<unknown>
  /** What differs from a driver that is right. */
  readonly changes?: Partial<Record<keyof LockDriver, unknown>>
}

/** A shared backend that counts what it opens and closes, and remembers what it was told. */
export class CountingBackend {
  opened = 0
  closed = 0
  readonly contexts: PluginContext[] = []

  plugin(behaviour: Behaviour = {}): LockPlugin {
    return {
      kind: 'multinode-plugin',
      api: pluginApi,
      capability: 'lock',
      backend: behaviour.backend ?? 'counting',
      options: behaviour.options ?? {},
      create: (context) => this.#create(context, behaviour),
    }
  }

  async #create(context: PluginContext, { opening, changes }: Behaviour): Promise<LockDriver> {
    this.contexts.push(context)
    await opening?.()
    this.opened += 1
    const { driver } = new SteeredLock(systemClock, { address: context.address?.url ?? 'counting://here' })
    const close = async (): Promise<void> => {
      this.closed += 1
    }
    return Object.assign(driver, { close }, changes)
  }
}

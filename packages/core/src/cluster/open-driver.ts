import type { Capability, PortableType } from '../capability.ts'
import { isMultinodeError, MultinodeError } from '../errors/multinode-error.ts'
import { reasonOf } from '../errors/to-driver-error.ts'
import { chooseAddress, type ChosenAddress } from '../registry/choose-address.ts'
import type { AdapterChoice } from '../registry/choose-adapter.ts'
import type { ConnectionPool } from '../registry/connection-pool.ts'
import type { Driver } from '../registry/driver.ts'
import { loadPlugin } from '../registry/load-plugin.ts'
import type { Address, NodeIdentity, Plugin, PluginContext } from '../registry/plugin.ts'
import { withDeadline } from '../runtime/deadline.ts'
import type { ClusterSettings } from './cluster-options.ts'
import type { Reporter } from './reporter.ts'

/** What all drivers of one start have in common. */
export interface Opening {
  readonly settings: ClusterSettings
  readonly node: NodeIdentity
  readonly connections: ConnectionPool
  readonly reporter: Reporter
  readonly signal: AbortSignal
}

/** A connected driver, and where it came from. */
export interface OpenedDriver {
  readonly choice: AdapterChoice
  readonly backend: string
  /** The package or path that was loaded; `core` for memory, `code` for a plugin given in code. */
  readonly from: string
  readonly driver: Driver
  /** The variable or option that named the address. */
  readonly addressFrom: string | null
  readonly usesDefaultAddress: boolean
}

/** Loads and connects what was chosen, within `connectTimeoutMs`; a driver that arrives later is closed again. */
export async function openDriver(
  choice: AdapterChoice,
  capability: Capability<PortableType>,
  opening: Opening,
): Promise<OpenedDriver> {
  const { settings } = opening
  const opened = open(choice, capability, opening)
  try {
    return await withDeadline(settings.clock, settings.connectTimeoutMs, opened, () => {
      return new MultinodeError(
        'UNAVAILABLE',
        `${choice.because}: ${choice.capability} on ${choice.adapter} was not ready within ` +
          `${settings.connectTimeoutMs} ms (connectTimeoutMs).`,
        { capability: choice.capability, backend: choice.adapter },
      )
    })
  } catch (error) {
    opened.then((late) => closeDriver(late, settings)).catch(ignoreAfterFailure)
    throw asStartError(error, choice)
  }
}

/** Rejects with `TIMEOUT` when the driver does not close within `callTimeoutMs`. */
export async function closeDriver(
  { choice, backend, driver }: OpenedDriver,
  { clock, callTimeoutMs }: ClusterSettings,
): Promise<void> {
  const { capability } = choice
  await withDeadline(clock, callTimeoutMs, driver.close(), () => {
    return new MultinodeError(
      'TIMEOUT',
      `${capability} on ${backend} did not close within ${callTimeoutMs} ms.`,
      { capability, backend },
    )
  })
}

async function open(
  choice: AdapterChoice,
  capability: Capability<PortableType>,
  opening: Opening,
): Promise<OpenedDriver> {
  const { settings } = opening
  const untilMs = settings.clock.monotonicMs() + settings.connectTimeoutMs
  const { plugin, from } = await findPlugin(choice, capability, settings)
  const address = chooseAddressFor(plugin, choice, opening)
  const leftMs = Math.max(1, Math.floor(untilMs - settings.clock.monotonicMs()))
  const driver = await plugin.create(pluginContext(opening, address, leftMs))
  const source = address?.source ?? (driver.address === null ? null : 'code')
  return {
    choice,
    backend: plugin.backend,
    from,
    driver,
    addressFrom: source,
    usesDefaultAddress: address?.isDefault ?? false,
  }
}

async function findPlugin(
  choice: AdapterChoice,
  capability: Capability<PortableType>,
  settings: ClusterSettings,
): Promise<{ plugin: Plugin; from: string }> {
  if (choice.plugin !== undefined) return { plugin: choice.plugin, from: 'code' }
  if (choice.adapter === 'memory') return { plugin: capability.memory, from: 'core' }
  const inCode = settings.plugins.filter((plugin) => plugin.capability === choice.capability)
  const registered = ['memory', ...inCode.map((plugin) => plugin.backend)]
  return loadPlugin(choice, settings.folder, registered)
}

/** An address given in code comes first; memory has none. */
function chooseAddressFor(
  plugin: Plugin,
  choice: AdapterChoice,
  opening: Opening,
): ChosenAddress | undefined {
  const isInCode = plugin.options['url'] !== undefined || plugin.options['client'] !== undefined
  if (plugin.backend === 'memory' || isInCode) return undefined
  return chooseAddress(choice.capability, plugin.backend, opening.settings.variables)
}

function pluginContext(
  opening: Opening,
  address: Address | undefined,
  connectTimeoutMs: number,
): PluginContext {
  const { settings, node, connections, reporter, signal } = opening
  return {
    node,
    address: address === undefined ? undefined : { url: address.url, source: address.source },
    connections,
    clock: settings.clock,
    connectTimeoutMs,
    callTimeoutMs: settings.callTimeoutMs,
    signal,
    report: reporter.report,
    warn: reporter.warn,
  }
}

function asStartError(error: unknown, choice: AdapterChoice): MultinodeError {
  if (isMultinodeError(error)) return namingChoice(error, choice)
  return new MultinodeError(
    'INTERNAL',
    `${choice.because}: ${choice.capability} on ${choice.adapter} failed to start: ${reasonOf(error)}`,
    { capability: choice.capability, backend: choice.adapter, cause: error },
  )
}

/** An error of a connection knows its variable, but not which capability it was for and who asked for that. */
function namingChoice(error: MultinodeError, choice: AdapterChoice): MultinodeError {
  const { capability, adapter, because } = choice
  if (error.message.startsWith(because)) return error
  return new MultinodeError(error.code, `${capability} on ${adapter} (${because}): ${error.message}`, {
    capability,
    backend: error.backend ?? adapter,
    details: error.details,
    outcome: error.outcome,
    cause: error,
  })
}

/** The start has failed already, with its own reason. */
function ignoreAfterFailure(): void {}

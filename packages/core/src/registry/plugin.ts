import is from '@sindresorhus/is'
import { MultinodeError } from '../errors/multinode-error.ts'
import type { Clock } from '../runtime/clock.ts'
import { capabilityNames, type CapabilityName } from './capability-name.ts'
import type { ConnectionPool } from './connection-pool.ts'
import type { Driver } from './driver.ts'

/** The version of the contract between core and drivers. A plugin of another version is refused at load. */
export const pluginApi = 1

/** Who this process is within its cluster. */
export interface NodeIdentity {
  /** Prefix of every key, queue and exchange: `[A-Za-z0-9_.-]{1,64}`. */
  readonly clusterName: string
  readonly nodeId: string
  /** Random per start, so that a restarted node is told from its former self. */
  readonly incarnation: string
}

/** An address and the variable or option that it came from, so that an error can name it. */
export interface Address {
  readonly url: string
  readonly source: string
}

/** What core gives a plugin to build its driver from. */
export interface PluginContext {
  readonly node: NodeIdentity
  /** From the environment or the backend's default; absent when the backend has none. Options given in code come first. */
  readonly address: Address | undefined
  /** Connections shared by all drivers of this cluster object that name the same address. */
  readonly connections: ConnectionPool
  readonly clock: Clock
  /** How long `create` may take; core rejects after it and closes a driver that arrives later. */
  readonly connectTimeoutMs: number
  /** The deadline of one call where the caller names none. */
  readonly callTimeoutMs: number
  /** Aborted when the start failed or timed out: stop connecting. */
  readonly signal: AbortSignal
  /** Background trouble that no caller is waiting for. Never throws. */
  readonly report: (error: unknown) => void
  /** Something an operator should know, said once. Never throws. */
  readonly warn: (message: string) => void
}

/** What an adapter package exports as its default, and what its factory returns for registration in code. */
export interface Plugin<D extends Driver = Driver> {
  readonly kind: 'multinode-plugin'
  readonly api: typeof pluginApi
  readonly capability: CapabilityName
  /** As it appears in `LOCK_ADAPTER` and in variable names: a lower-case word. */
  readonly backend: string
  /** Given in code. A `url` or `client` among them means that no address from the environment is wanted. */
  readonly options: Readonly<Record<string, unknown>>
  /**
   * Connects and resolves with a working driver, or rejects with a typed error, within `connectTimeoutMs`. A
   * rejection must leave nothing open.
   */
  create(context: PluginContext): Promise<D>
}

/**
 * Refuses what is no plugin, or one of another capability or contract version, and says which it is.
 * @param from what the value came from, for the message: a package, a path, `plugins[0]`
 */
export function checkPlugin(value: unknown, from: string, capability?: CapabilityName): Plugin {
  if (!isPluginShape(value)) {
    throw new MultinodeError(
      'MISCONFIGURED',
      `${from} is no multinode plugin: its default export must be ` +
        "{ kind: 'multinode-plugin', api, capability, backend, options, create }.",
      { capability, details: { from } },
    )
  }
  const api: unknown = value.api
  if (api !== pluginApi) {
    throw new MultinodeError(
      'MISCONFIGURED',
      `${from} speaks version ${String(api)} of the driver contract, this @multinode/core speaks ${pluginApi}: ` +
        'install versions of both that belong together.',
      { capability, details: { from, api } },
    )
  }
  if (capability !== undefined && value.capability !== capability) {
    throw new MultinodeError(
      'MISCONFIGURED',
      `${from} is a plugin for ${value.capability}, not for ${capability}.`,
      { capability, details: { from } },
    )
  }
  return value
}

function isPluginShape(value: unknown): value is Plugin {
  return (
    is.object(value) &&
    'kind' in value &&
    value.kind === 'multinode-plugin' &&
    'api' in value &&
    'capability' in value &&
    capabilityNames.some((name) => name === value.capability) &&
    'backend' in value &&
    is.string(value.backend) &&
    /^[a-z][a-z0-9]*$/.test(value.backend) &&
    'options' in value &&
    is.plainObject(value.options) &&
    'create' in value &&
    is.function(value.create)
  )
}

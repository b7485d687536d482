import { MultinodeError } from '../errors/multinode-error.ts'
import {
  checkArray,
  checkKnownOptions,
  checkMs,
  checkName,
  checkObject,
  checkString,
} from '../runtime/check.ts'
import { type Clock, systemClock } from '../runtime/clock.ts'
import type { CacheFeatures } from '../cache/cache-driver.ts'
import type { LockFeatures } from '../lock/lock-driver.ts'
import type { PubSubFeatures } from '../pubsub/pubsub-driver.ts'
import type { WorkerIdFeatures } from '../worker-id/worker-id-driver.ts'
import { type CapabilityName, capabilityNames } from '../registry/capability-name.ts'
import { checkPlugin, type Plugin } from '../registry/plugin.ts'
import { defaultResolveFrom, toFolder } from '../registry/resolve-module.ts'
import { type Environment, type Variable, Variables } from '../registry/variables.ts'

export interface ClusterOptions {
  /** Name of the cluster, the prefix of everything stored. Default: `CLUSTER_NAME`, else `app`. */
  readonly name?: string
  /** Name of this process. Default: `NODE_ID`, else the host name with `NODE_APP_INSTANCE` or a random suffix. */
  readonly nodeId?: string
  /** What the other nodes see of this one in `nodes()`: `{ role: 'worker' }`. At most 1,024 bytes of JSON. */
  readonly metadata?: Readonly<Record<string, unknown>>
  /** Adapters registered in code: `redisLock({ url })`. The environment still chooses where it says something. */
  readonly plugins?: readonly Plugin[]
  /** Sets up only these; using another one is then an error that says so. Default: all. */
  readonly capabilities?: readonly CapabilityName[]
  /** What the backends must guarantee; start fails where one does not: `{ lock: { scope: 'cluster' } }`. */
  readonly require?: {
    readonly pubsub?: Partial<PubSubFeatures>
    readonly lock?: Partial<LockFeatures>
    readonly cache?: Partial<CacheFeatures>
    readonly workerid?: Partial<WorkerIdFeatures>
  }
  /** Where settings are read from. Default: `process.env`; `{}` for none. */
  readonly env?: Environment
  /** `SHOP_` reads `SHOP_LOCK_ADAPTER` before `LOCK_ADAPTER`. */
  readonly envPrefix?: string
  /** Folder, file or `import.meta.url` that adapter packages are resolved from. Default: the main module's folder. */
  readonly resolveFrom?: string
  /** How long the start may take, in ms. Default 10,000. */
  readonly connectTimeoutMs?: number
  /** The deadline of a call that names none, in ms. Default 5,000, at most 30,000. */
  readonly callTimeoutMs?: number
  /** For tests: see `ManualClock` in `@multinode/core/testing`. */
  readonly clock?: Clock
}

/** The options, checked and completed. */
export interface ClusterSettings {
  readonly clusterName: string
  readonly clusterNameIsDefault: boolean
  readonly nodeId: string | undefined
  readonly instance: string | undefined
  readonly metadata: Readonly<Record<string, unknown>>
  readonly plugins: readonly Plugin[]
  readonly capabilities: readonly CapabilityName[]
  readonly capabilitiesAreChosen: boolean
  readonly require: Readonly<Partial<Record<CapabilityName, Readonly<Record<string, unknown>>>>>
  readonly variables: Variables
  readonly folder: string
  readonly connectTimeoutMs: number
  readonly callTimeoutMs: number
  readonly clock: Clock
}

const knownOptions: readonly (keyof ClusterOptions)[] = [
  'name',
  'nodeId',
  'metadata',
  'plugins',
  'capabilities',
  'require',
  'env',
  'envPrefix',
  'resolveFrom',
  'connectTimeoutMs',
  'callTimeoutMs',
  'clock',
]

const anyName = new RegExp(`^(${capabilityNames.join('|')})$`)

export function readSettings(options: ClusterOptions): ClusterSettings {
  checkKnownOptions('createCluster', options, knownOptions)
  const variables = new Variables(options.env ?? process.env, checkPrefix(options.envPrefix))
  const name = variables.read(['CLUSTER_NAME'])
  const nodeId = variables.read(['NODE_ID'])
  checkKnownOptions('require', options.require ?? {}, capabilityNames)
  for (const [capability, features] of Object.entries(options.require ?? {})) {
    checkObject(`require.${capability}`, features)
  }
  checkArray('capabilities', options.capabilities ?? [])
  checkArray('plugins', options.plugins ?? [])
  checkString('resolveFrom', options.resolveFrom ?? '')
  for (const capability of options.capabilities ?? []) checkName('capabilities', capability, anyName)
  return {
    clusterName: checkedName('name', options.name, name, /^[A-Za-z0-9_.-]{1,64}$/) ?? 'app',
    clusterNameIsDefault: options.name === undefined && name === undefined,
    nodeId: checkedName('nodeId', options.nodeId, nodeId, /^[A-Za-z0-9_.:@-]{1,128}$/),
    instance: variables.read(['NODE_APP_INSTANCE'])?.value,
    metadata: checkMetadata(options.metadata ?? {}),
    plugins: (options.plugins ?? []).map((plugin, index) => checkPlugin(plugin, `plugins[${index}]`)),
    capabilities: [...new Set(options.capabilities ?? capabilityNames)],
    capabilitiesAreChosen: options.capabilities !== undefined,
    require: options.require ?? {},
    variables,
    folder: toFolder(options.resolveFrom ?? defaultResolveFrom()),
    connectTimeoutMs: checkMs('connectTimeoutMs', options.connectTimeoutMs ?? 10_000, { min: 1 }),
    callTimeoutMs: checkMs('callTimeoutMs', options.callTimeoutMs ?? 5_000, { min: 1, max: 30_000 }),
    clock: options.clock ?? systemClock,
  }
}

function checkPrefix(prefix: string | undefined): string {
  return prefix === undefined ? '' : checkName('envPrefix', prefix, /^[A-Z][A-Z0-9_]*_$/)
}

/** The option, which comes first, or the variable; each is named by the error that refuses it. */
function checkedName(
  optionName: string,
  option: string | undefined,
  variable: Variable | undefined,
  pattern: RegExp,
): string | undefined {
  if (option !== undefined) return checkName(optionName, option, pattern)
  if (variable === undefined || pattern.test(variable.value)) return variable?.value
  throw new MultinodeError(
    'MISCONFIGURED',
    `${variable.name}=${variable.value.slice(0, 80)} must match ${pattern.source}.`,
    { details: { variable: variable.name } },
  )
}

function checkMetadata(metadata: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  checkObject('metadata', metadata)
  const bytes = Buffer.byteLength(JSON.stringify(metadata))
  if (bytes <= 1_024) return metadata
  throw new MultinodeError('TOO_LARGE', `metadata has ${bytes} bytes of JSON; at most 1024 are allowed.`, {
    details: { name: 'metadata', bytes },
  })
}

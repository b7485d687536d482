import { maskSecrets } from '../errors/mask-secrets.ts'
import { MultinodeError } from '../errors/multinode-error.ts'
import type { CapabilityName } from './capability-name.ts'
import type { Plugin } from './plugin.ts'
import { adapterVariables, ownAddressVariables, type Variable, type Variables } from './variables.ts'

/** Which adapter serves a capability, and because of what. */
export interface AdapterChoice {
  readonly capability: CapabilityName
  /** `memory`, a backend name, a package name or a path. */
  readonly adapter: string
  /** A variable with its value, or words, for `describe()`. */
  readonly because: string
  /** The plugin given in code, where it is the chosen one. */
  readonly plugin: Plugin | undefined
}

export interface ChoiceInput {
  readonly variables: Variables
  /** Plugins given in code, of any capability. */
  readonly plugins: readonly Plugin[]
  /** Whether `@multinode/workerid-redis` can be loaded: see {@link chooseAdapter}. */
  readonly isInstalled: (packageName: string) => boolean
}

/**
 * In this order: the capability's own variable; the backend whose address the capability's own variable gives;
 * `CLUSTER_ADAPTER`; the only plugin given in code; memory. One exception, kept because NocoBase documents it: with
 * `REDIS_URL` set and `@multinode/workerid-redis` installed, worker ids use it.
 */
export function chooseAdapter(capability: CapabilityName, input: ChoiceInput): AdapterChoice {
  const plugins = input.plugins.filter((plugin) => plugin.capability === capability)
  const own = input.variables.read(adapterVariables[capability])
  if (own !== undefined) return named(capability, own, plugins)
  const byAddress = backendOfOwnAddress(capability, input.variables)
  if (byAddress !== undefined) return byAddressChoice(capability, byAddress, plugins)
  const shared = input.variables.read(['CLUSTER_ADAPTER'])
  if (shared !== undefined) return named(capability, shared, plugins)
  return inCode(capability, plugins) ?? byRedisUrl(capability, input) ?? memory(capability)
}

function named(capability: CapabilityName, variable: Variable, plugins: readonly Plugin[]): AdapterChoice {
  return {
    capability,
    adapter: variable.value,
    // An address by mistake is what this variable gets wrong most often.
    because: `${variable.name}=${maskSecrets(variable.value)}`,
    plugin: plugins.find((plugin) => plugin.backend === variable.value),
  }
}

function byAddressChoice(
  capability: CapabilityName,
  found: { backend: string; variable: string },
  plugins: readonly Plugin[],
): AdapterChoice {
  return {
    capability,
    adapter: found.backend,
    because: `${found.variable} is set`,
    plugin: plugins.find((plugin) => plugin.backend === found.backend),
  }
}

function inCode(capability: CapabilityName, plugins: readonly Plugin[]): AdapterChoice | undefined {
  const [plugin, second] = plugins
  if (plugin === undefined) return undefined
  if (second !== undefined) {
    const backends = plugins.map((each) => each.backend)
    throw new MultinodeError(
      'MISCONFIGURED',
      `Several plugins for ${capability} were given in code (${backends.join(', ')}) and nothing chooses: ` +
        `set ${adapterVariables[capability][0]} to one of them, or pass only one.`,
      { capability, details: { backends } },
    )
  }
  return {
    capability,
    adapter: plugin.backend,
    because: 'the plugin given in code',
    plugin,
  }
}

function byRedisUrl(capability: CapabilityName, input: ChoiceInput): AdapterChoice | undefined {
  if (capability !== 'workerid') return undefined
  const url = input.variables.read(['REDIS_URL'])
  if (url === undefined || !input.isInstalled('@multinode/workerid-redis')) return undefined
  return {
    capability,
    adapter: 'redis',
    because: `${url.name} is set and @multinode/workerid-redis is installed`,
    plugin: undefined,
  }
}

function memory(capability: CapabilityName): AdapterChoice {
  return { capability, adapter: 'memory', because: 'nothing else was said', plugin: undefined }
}

/** `LOCK_ADAPTER_REDIS_URL` alone says that the lock is on Redis. Two backends named so contradict each other. */
function backendOfOwnAddress(
  capability: CapabilityName,
  variables: Variables,
): { backend: string; variable: string } | undefined {
  const pattern = new RegExp(`^${capability.toUpperCase()}_ADAPTER_([A-Z][A-Z0-9]*)_URL$`)
  const backends = new Set(variables.namesLike(pattern).map((match) => (match[1] ?? '').toLowerCase()))
  if (capability === 'cache' && variables.read(['CACHE_REDIS_URL']) !== undefined) backends.add('redis')
  const [backend, second] = backends
  if (backend === undefined) return undefined
  if (second !== undefined) {
    throw new MultinodeError(
      'MISCONFIGURED',
      `Addresses of several backends are set for ${capability} (${[...backends].join(', ')}) and nothing chooses: ` +
        `set ${adapterVariables[capability][0]} to one of them.`,
      { capability, details: { backends: [...backends] } },
    )
  }
  const variable = variables.read(ownAddressVariables(capability, backend))
  return variable === undefined ? undefined : { backend, variable: variable.name }
}

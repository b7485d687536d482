import is from '@sindresorhus/is'
import { reasonOf } from '../errors/to-driver-error.ts'
import { MultinodeError } from '../errors/multinode-error.ts'
import type { CapabilityName } from './capability-name.ts'
import type { AdapterChoice } from './choose-adapter.ts'
import { checkPlugin, type Plugin } from './plugin.ts'
import { resolvePackage, resolvePath } from './resolve-module.ts'
import { adapterVariables } from './variables.ts'

/** The adapters of this project, for advice in errors; whatever else is installed under the naming rule loads too. */
const ownAdapters: Readonly<Record<CapabilityName, readonly string[]>> = {
  pubsub: ['redis', 'rabbitmq'],
  queue: ['redis', 'rabbitmq'],
  lock: ['redis'],
  cache: ['redis'],
  workerid: ['redis'],
}

const backendName = /^[a-z][a-z0-9]*$/
const packageName = /^(@[a-z0-9][a-z0-9_.-]*\/)?[a-z0-9][a-z0-9_.-]*$/

/**
 * Loads the plugin that a name stands for: a backend (`redis`), a package (`@acme/lock-etcd`) or a path
 * (`./adapters/lock.js`, from the working directory). Never answers with another one than asked for.
 * @param folder where packages are resolved from
 * @param registered backends that need no loading, for the message when nothing is found
 */
export async function loadPlugin(
  choice: AdapterChoice,
  folder: string,
  registered: readonly string[],
): Promise<{ plugin: Plugin; from: string }> {
  const { capability, adapter } = choice
  const isPath = /^(\.{0,2}\/|file:)/.test(adapter)
  const from = backendName.test(adapter) ? `@multinode/${capability}-${adapter}` : adapter
  if (!isPath && !packageName.test(from)) throw unknownForm(choice, registered)
  const url = isPath ? resolvePath(adapter) : resolvePackage(from, folder)
  if (url === undefined) throw isPath ? noSuchFile(choice) : notInstalled(choice, from, folder, registered)
  return {
    plugin: checkPlugin(await importDefault(choice, url), `${choice.because}: ${from}`, capability),
    from,
  }
}

async function importDefault(choice: AdapterChoice, url: string): Promise<unknown> {
  let module: { default?: unknown }
  try {
    module = await import(url)
  } catch (error) {
    throw new MultinodeError(
      'MISCONFIGURED',
      `${choice.because}: the adapter was found but could not be loaded: ${reasonOf(error)}`,
      { capability: choice.capability, cause: error },
    )
  }
  const exported = module.default
  // A CommonJS file compiled from `export default` keeps its own `default` one level deeper.
  return is.plainObject(exported) && 'default' in exported ? exported['default'] : exported
}

function unknownForm({ because, capability }: AdapterChoice, registered: readonly string[]): MultinodeError {
  return new MultinodeError(
    'MISCONFIGURED',
    `${because} is no adapter: give a backend, a package name (@acme/lock-etcd) or a path (./adapters/lock.js). ` +
      `${whatThereIs(capability, registered)}.`,
    { capability },
  )
}

function whatThereIs(capability: CapabilityName, registered: readonly string[]): string {
  const own = ownAdapters[capability].map((name) => `${name} (npm install @multinode/${capability}-${name})`)
  return `Registered: ${registered.join(', ')}; to be installed: ${own.join(', ')}`
}

function noSuchFile(choice: AdapterChoice): MultinodeError {
  return new MultinodeError(
    'NOT_FOUND',
    `${choice.because}: there is no such file, seen from the working directory ${process.cwd()}.`,
    { capability: choice.capability },
  )
}

function notInstalled(
  choice: AdapterChoice,
  from: string,
  folder: string,
  registered: readonly string[],
): MultinodeError {
  const { capability, adapter, because } = choice
  const variable = adapterVariables[capability][0]
  const own = ownAdapters[capability]
  const isUnknown =
    from.startsWith('@multinode/') && !own.some((name) => from === `@multinode/${capability}-${name}`)
  const advice = isUnknown
    ? `there is no adapter ${JSON.stringify(adapter)} for ${capability}. ${whatThereIs(capability, registered)}`
    : `${from} is not installed. Install it with: npm install ${from}`
  return new MultinodeError(
    'NOT_FOUND',
    `${because}: ${advice}; or set ${variable}=memory. (Looked in ${folder} and above.)`,
    { capability, details: { package: from } },
  )
}

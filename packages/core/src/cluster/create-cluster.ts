import { capabilities } from '../capabilities.ts'
import { reasonOf } from '../errors/to-driver-error.ts'
import { maskSecrets } from '../errors/mask-secrets.ts'
import { isMultinodeError, MultinodeError } from '../errors/multinode-error.ts'
import { type AdapterChoice, chooseAdapter } from '../registry/choose-adapter.ts'
import { capabilityNames } from '../registry/capability-name.ts'
import { checkVerbs } from '../registry/driver.ts'
import { ConnectionPool } from '../registry/connection-pool.ts'
import { resolvePackage } from '../registry/resolve-module.ts'
import { adapterVariables } from '../registry/variables.ts'
import { Cluster, type ClusterPart } from './cluster.ts'
import { type ClusterOptions, type ClusterSettings, readSettings } from './cluster-options.ts'
import { identify } from './identity.ts'
import { closeDriver, openDriver, type OpenedDriver, type Opening } from './open-driver.ts'
import { Reporter } from './reporter.ts'

/**
 * Chooses, loads and connects the adapter of every capability, by the environment and the plugins given in code, and
 * resolves with a cluster object that is ready. Rejects within `connectTimeoutMs` (default 10 s) with a typed error that names
 * each capability that failed and why; nothing is left open then: what had connected is closed first, which a dead server can
 * delay by `callTimeoutMs`. With nothing said it is one node on memory.
 *
 * @throws `MISCONFIGURED` for settings that are wrong or contradict each other, `NOT_FOUND` for an adapter that is not
 * installed, `UNAVAILABLE` for a backend that could not be reached
 */
export async function createCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const settings = readSettings(options)
  const choices = chooseAll(settings)
  const start = new AbortController()
  const opening: Opening = {
    settings,
    node: identify(settings),
    connections: new ConnectionPool(),
    reporter: new Reporter(),
    signal: start.signal,
  }
  const opened = await openAll(choices, opening, start)
  try {
    for (const { driver, choice, backend } of opened) {
      checkVerbs(driver, [], { capability: choice.capability, backend })
    }
    checkRequired(opened, settings)
    const parts = opened.map((each) => ({ ...each, notes: notesFor(each, opened) }))
    warnOfRisks(parts, opening)
    return new Cluster(parts, opening)
  } catch (error) {
    start.abort()
    await closeAll(opened, settings)
    throw error
  }
}

function chooseAll(settings: ClusterSettings): AdapterChoice[] {
  return settings.capabilities.map((name) =>
    chooseAdapter(name, {
      variables: settings.variables,
      plugins: settings.plugins,
      isInstalled: (packageName) => resolvePackage(packageName, settings.folder) !== undefined,
    }),
  )
}

async function openAll(
  choices: readonly AdapterChoice[],
  opening: Opening,
  start: AbortController,
): Promise<OpenedDriver[]> {
  const attempts = choices.map((choice) => openDriver(choice, capabilities[choice.capability], opening))
  const results = await Promise.allSettled(attempts)
  const opened = results.filter((result) => result.status === 'fulfilled').map((result) => result.value)
  const failures = results.filter((result) => result.status === 'rejected').map((result) => result.reason)
  if (failures.length === 0) return opened
  start.abort()
  await closeAll(opened, opening.settings)
  throw oneError(failures)
}

/** What the start failed of is the error that counts, so those of closing are dropped. */
async function closeAll(opened: readonly OpenedDriver[], settings: ClusterSettings): Promise<void> {
  await Promise.allSettled(opened.map((each) => closeDriver(each, settings)))
}

function oneError(failures: readonly unknown[]): unknown {
  const [first] = failures
  if (failures.length === 1) return first
  const messages = failures.map(reasonOf)
  return new MultinodeError(
    isMultinodeError(first) ? first.code : 'INTERNAL',
    `${failures.length} capabilities failed to start:\n- ${messages.join('\n- ')}`,
    { cause: new AggregateError(failures) },
  )
}

function checkRequired(opened: readonly OpenedDriver[], settings: ClusterSettings): void {
  for (const capability of capabilityNames) {
    const part = opened.find((each) => each.choice.capability === capability)
    for (const [feature, wanted] of Object.entries(settings.require[capability] ?? {})) {
      const actual = part?.driver.features[feature]
      if (actual === wanted) continue
      const found =
        part === undefined ? 'is not set up' : `on ${part.backend} has ${feature} ${String(actual)}`
      throw new MultinodeError(
        'MISCONFIGURED',
        `This app requires ${capability} with ${feature} ${String(wanted)}, but ${capability} ${found}. ` +
          `Choose another adapter with ${adapterVariables[capability][0]}.`,
        { capability, details: { feature, wanted, actual } },
      )
    }
  }
}

/** Right on one node only: some capabilities are shared with other nodes, this one is not. */
function notesFor(part: OpenedDriver, all: readonly OpenedDriver[]): readonly string[] {
  const someAreShared = all.some((each) => each.driver.address !== null)
  if (part.driver.address !== null || !someAreShared) return []
  return [`${part.choice.capability} is on ${part.backend} while others are shared: right on one node only`]
}

function warnOfRisks(parts: readonly ClusterPart[], { settings, node, reporter }: Opening): void {
  const alone = parts.filter(({ notes }) => notes.length > 0).map(({ choice }) => choice.capability)
  if (alone.length > 0) {
    const variables = alone.map((capability) => adapterVariables[capability][0])
    reporter.warn(
      `On memory while others are shared, so right on one node only: ${alone.join(', ')}. Set ${variables.join(' and ')}, ` +
        'or leave out what this app does not use, by the option capabilities.',
    )
  }
  for (const part of parts) {
    if (part.usesDefaultAddress) {
      reporter.warn(
        `${part.choice.capability} uses the default address ${maskSecrets(String(part.driver.address))}: ` +
          `set ${part.choice.capability.toUpperCase()}_ADAPTER_${part.backend.toUpperCase()}_URL or ${part.backend.toUpperCase()}_URL.`,
      )
    }
  }
  if (settings.clusterNameIsDefault && parts.some((part) => part.driver.address !== null)) {
    reporter.warn(
      `CLUSTER_NAME is not set: this app shares the name ${JSON.stringify(node.clusterName)} with every other app on ` +
        'the same backend that does not set it either.',
    )
  }
}

/**
 * The environment in which packages are published to a local registry, closed so that no mistake in a
 * release, or in this rehearsal of one, reaches another registry:
 * - no token but the local registry's, and no user config but ours (`bareEnvironment`);
 * - our scope, and also the default registry, are the local one;
 * - the proxy for every other address is the local registry too, which is none and refuses.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { bareEnvironment } from './bare-environment.ts'
import type { LocalRegistry } from './local-registry.ts'

/** `folder` takes the home and the user config. */
export async function sealedEnvironment(folder: string, registry: LocalRegistry): Promise<NodeJS.ProcessEnv> {
  const home = join(folder, 'home')
  await mkdir(home)
  const proxies = ['HTTP_PROXY', 'HTTPS_PROXY', 'http_proxy', 'https_proxy']
  return {
    ...bareEnvironment(home, await registry.npmrc(folder)),
    // npm reads the first, pnpm the second.
    npm_config_registry: registry.url,
    PNPM_CONFIG_REGISTRY: registry.url,
    ...Object.fromEntries(proxies.map((name) => [name, registry.url])),
    NO_PROXY: '127.0.0.1',
    no_proxy: '127.0.0.1',
    // pnpm would check what is installed against a registry that holds only our scope.
    PNPM_CONFIG_VERIFY_DEPS_BEFORE_RUN: 'false',
    // changeset makes a tag for each package, with the name of whoever releases.
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_COMMITTER_NAME: 'release rehearsal',
    GIT_COMMITTER_EMAIL: 'rehearsal@localhost',
    GIT_AUTHOR_NAME: 'release rehearsal',
    GIT_AUTHOR_EMAIL: 'rehearsal@localhost',
  }
}

/** Refuses to publish unless every setting that names a registry names this machine. */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { scope } from './local-registry.ts'
import { run } from './run.ts'

const loopback = ['127.0.0.1', 'localhost', '[::1]']

export type PublishingPlace = {
  /** Root of the checkout that publishes. */
  root: string
  /** Folders of the packages to publish. */
  packages: string[]
  /** Exactly the environment in which the publishing will run. */
  env: NodeJS.ProcessEnv
}

/** Asks both tools, because each reads its own mixture of variables, user, project and workspace settings. */
export async function assertStaysLocal({ root, packages, env }: PublishingPlace): Promise<void> {
  const questions = ['npm', 'pnpm'].flatMap((tool) =>
    [`${scope}:registry`, 'registry'].map(async (key) => {
      const registry = (await run(tool, ['config', 'get', key], { cwd: root, env })).trim()
      const host = URL.canParse(registry) ? new URL(registry).hostname : undefined
      if (host !== undefined && loopback.includes(host)) return
      throw new Error(`refusing to publish: ${tool} has ${key} = ${registry}, which is not this machine`)
    }),
  )
  await Promise.all([...questions, ...packages.map(assertNamesNoRegistry)])
}

/** What a package says about registries wins over the environment, so it may say nothing. */
async function assertNamesNoRegistry(folder: string): Promise<void> {
  if (existsSync(join(folder, '.npmrc'))) throw new Error(`refusing to publish: ${folder} has an .npmrc`)
  const { publishConfig = {} } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'))
  const key = Object.keys(publishConfig).find((name) => name.endsWith('registry'))
  if (key !== undefined) throw new Error(`refusing to publish: publishConfig of ${folder} sets ${key}`)
}

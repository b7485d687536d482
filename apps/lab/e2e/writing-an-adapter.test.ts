import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { temporaryFolder } from '@multinode/testbed'
import { expect, test } from 'vitest'
import { bareEnvironment } from '../support/bare-environment.ts'
import { startLocalRegistry } from '../support/local-registry.ts'
import { markdownBlocks } from '../support/markdown-blocks.ts'
import { publishWorkspace } from '../support/publish-workspace.ts'
import { run } from '../support/run.ts'

const workspace = fileURLToPath(new URL('../../..', import.meta.url))
const page = join(workspace, 'docs/writing-an-adapter.md')

test(
  'the steps of docs/writing-an-adapter.md lead from an empty folder to a green suite',
  { timeout: 480_000 },
  async () => {
    const folder = temporaryFolder('adapter')
    const registry = await startLocalRegistry()
    const release = await publishWorkspace(workspace, registry)
    try {
      const [adapter, home] = [join(folder.path, 'adapter'), join(folder.path, 'home')]
      await Promise.all([mkdir(adapter), mkdir(home)])
      const env = bareEnvironment(home, await registry.npmrc(folder.path))
      const said: string[] = []
      for (const { language, info, text } of markdownBlocks(await readFile(page, 'utf8'))) {
        const file = /^file=(\S+)$/.exec(info)?.[1]
        if (file !== undefined) {
          await mkdir(dirname(join(adapter, file)), { recursive: true })
          await writeFile(join(adapter, file), text)
        } else if (language === 'sh' && info === 'run') {
          said.push(await run('sh', ['-ec', text], { cwd: adapter, env, deadlineMs: 120_000 }))
        }
      }
      const [, suite, app] = said
      expect(suite).toMatch(/Tests .*\d+ passed/)
      expect(suite).not.toContain('failed')
      expect(app).toMatch(/^token \d+ from sqlite, because LOCK_ADAPTER=\.\/src\/index\.ts$/m)
    } finally {
      release.remove()
      await registry.stop()
      folder.remove()
    }
  },
)

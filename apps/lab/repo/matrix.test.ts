/** `pnpm matrix`: which folders it takes. What it makes of their results: `apps/lab/e2e/matrix.test.ts`. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { temporaryFolder } from '@multinode/testbed'
import { afterAll, describe, expect, test } from 'vitest'
import { readServerFolders } from '../matrix/server-folders.ts'
import { tryRun } from '../support/run.ts'
import { workspace } from './repository.ts'

const temporary = temporaryFolder('matrix')
afterAll(temporary.remove)

const main = 'apps/lab/matrix/main.ts'
const spawnMs = 60_000
/** Knows its version, and does not serve. */
const fake = folderWith('fake', 'echo Valkey server v=8.1.0 sha=0')
const mute = folderWith('mute', 'exit 1')
const empty = folder('empty')

describe('the folders', () => {
  test('are taken once each, with the version of their server', () => {
    const folders = readServerFolders({ MULTINODE_TEST_BINS: list(fake, `${fake}/.`, '') })
    expect(folders).toEqual([{ path: fake, version: 'Valkey 8.1.0' }])
  })

  test.each([undefined, '', delimiter])('%j names none: that is said, with an example', (value) => {
    expect(() => readServerFolders({ MULTINODE_TEST_BINS: value })).toThrow(
      /MULTINODE_TEST_BINS names no folder.*\n +MULTINODE_TEST_BINS=\S+ pnpm matrix/,
    )
  })

  test('are not looked at when servers are left out on purpose', () => {
    const env = { MULTINODE_TEST_BINS: fake, MULTINODE_TEST_SKIP_SERVERS: '1' }
    expect(() => readServerFolders(env)).toThrow('MULTINODE_TEST_SKIP_SERVERS=1')
  })
})

describe('a run', () => {
  test(
    'does not begin when a folder has no server, and names every such folder',
    async () => {
      const folders = list(empty, fake, mute, '/nowhere')
      const env = { ...process.env, MULTINODE_TEST_BINS: folders, MULTINODE_TEST_SKIP_SERVERS: '' }
      const { exitCode, stdout, stderr } = await tryRun(process.execPath, [main], { cwd: workspace, env })
      expect({ exitCode, stdout, stderr }).toEqual({
        exitCode: 1,
        stdout: '',
        stderr: [
          'MULTINODE_TEST_BINS names what will not do:',
          `  ${empty} has no redis-server; a link of that name will do`,
          `  ${mute}/redis-server is no server: --version says ""`,
          '  /nowhere has no redis-server; a link of that name will do',
          '',
        ].join('\n'),
      })
    },
    spawnMs,
  )
})

function folder(name: string): string {
  const path = join(temporary.path, name)
  mkdirSync(path)
  return path
}

function folderWith(name: string, script: string): string {
  const path = folder(name)
  writeFileSync(join(path, 'redis-server'), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
  return path
}

function list(...folders: readonly string[]): string {
  return folders.join(delimiter)
}

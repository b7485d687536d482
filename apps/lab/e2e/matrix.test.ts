/** `pnpm matrix` on a real server, and on a program that knows its version and does not serve. */
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { serversAvailable, temporaryFolder } from '@multinode/testbed'
import { expect, onTestFinished, test } from 'vitest'
import { workspace } from '../repo/repository.ts'
import { tryRun } from '../support/run.ts'

const filter = ['packages/testbed/test/redis-users', '-t', 'lets each do what its rules allow']

test.skipIf(!serversAvailable())(
  'each folder is tested with its own server; one that fails fails the matrix',
  async () => {
    const temporary = temporaryFolder('matrix')
    onTestFinished(temporary.remove)
    const fake = join(temporary.path, 'fake')
    mkdirSync(fake)
    const script = '#!/bin/sh\necho Valkey server v=8.1.0 sha=0\n'
    writeFileSync(join(fake, 'redis-server'), script, { mode: 0o755 })
    const good = join(temporary.path, 'good')
    mkdirSync(good)
    symlinkSync(installedRedis(), join(good, 'redis-server'))

    const { exitCode, stdout, stderr } = await matrix([fake, good])
    expect(stderr).toContain(`redis-server is ${fake}/redis-server (MULTINODE_TEST_BIN)`)
    expect(stderr).toContain(`redis-server is ${good}/redis-server (MULTINODE_TEST_BIN)`)
    const table = stdout.trimEnd().split('\n').slice(-2)
    expect(table.map((line) => line.split(/ {2,}/))).toEqual([
      ['Valkey 8.1.0', 'failed', fake],
      [expect.stringMatching(/^\w+ \d+\.\d+/), 'passed', good],
    ])
    expect(exitCode).toBe(1)
    expect(await matrix([good])).toMatchObject({ exitCode: 0 })
  },
)

/** Vitest's global setup has put its folder on the PATH. */
function installedRedis(): string {
  const folders = (process.env['PATH'] ?? '').split(delimiter)
  const found = folders.map((folder) => join(folder, 'redis-server')).find((path) => existsSync(path))
  if (found === undefined) throw new Error('there is no redis-server on the PATH')
  return found
}

function matrix(folders: readonly string[]): ReturnType<typeof tryRun> {
  // What vitest tells its workers is not meant for the vitest that is started here.
  const passed = Object.entries(process.env).filter(([name]) => !name.startsWith('VITEST'))
  const env = { ...Object.fromEntries(passed), MULTINODE_TEST_BINS: folders.join(delimiter) }
  return tryRun(process.execPath, ['apps/lab/matrix/main.ts', ...filter], { cwd: workspace, env })
}

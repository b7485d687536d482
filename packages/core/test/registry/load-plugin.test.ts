import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { HostFolder, pluginSource } from '../support/host-folder.ts'
import { PlainNode, scriptPath } from '../support/plain-node.ts'

const host = new HostFolder()
afterAll(() => host[Symbol.dispose]())

const esm = { type: 'module', exports: './index.js' }
const cjs = { main: './index.js' }

host.install('@multinode/lock-good', esm, {
  'index.js': `export default ${pluginSource({ backend: 'good' })}`,
})
host.install('@acme/lock-esm', esm, { 'index.js': `export default ${pluginSource()}` })
host.install('@acme/lock-cjs', cjs, { 'index.js': `module.exports = ${pluginSource()}` })
host.install('@acme/lock-compiled', cjs, {
  'index.js': `Object.defineProperty(exports, '__esModule', { value: true }); exports.default = ${pluginSource()}`,
})
host.install(
  '@acme/lock-import-only',
  { type: 'module', exports: { '.': { types: './index.d.ts', import: './index.js' } } },
  { 'index.js': `export default ${pluginSource()}` },
)
host.install('plain-name.js', esm, { 'index.js': `export default ${pluginSource()}` })
host.install('@acme/throws', esm, {
  'index.js': "throw new Error('no native binding for redis://:hunter2@db')",
})
host.install('@acme/broken', esm, { 'index.js': 'export default {' })
host.install('@acme/misses', esm, { 'index.js': "import 'not-there'\nexport default {}" })
host.install('@acme/no-plugin', esm, { 'index.js': 'export const hello = 1\nexport default { hello }' })
host.install('@acme/no-default', esm, { 'index.js': `export const plugin = ${pluginSource()}` })
host.install('@acme/factory', esm, { 'index.js': `export default () => (${pluginSource()})` })
host.install('@acme/for-cache', esm, {
  'index.js': `export default ${pluginSource({ capability: 'cache' })}`,
})
host.install('@acme/api-2', esm, { 'index.js': `export default ${pluginSource({ api: 2 })}` })
host.write('adapters/lock.js', `export default ${pluginSource({ backend: 'local' })}`)
host.write('adapters/package.json', '{ "type": "module" }')
const main = host.write('main.js', '')

const fileUrl = pathToFileURL(path.join(host.root, 'adapters/lock.js')).href
const absolute = path.join(host.root, 'adapters/lock.js')

interface Result {
  readonly adapter: string
  readonly backend?: string
  readonly from?: string
  readonly code?: string
  readonly message?: string
  readonly hasCause?: boolean
}

const loaded: readonly (readonly [adapter: string, backend: string, from: string])[] = [
  ['good', 'good', '@multinode/lock-good'],
  ['@acme/lock-esm', 'acme', '@acme/lock-esm'],
  ['@acme/lock-cjs', 'acme', '@acme/lock-cjs'],
  ['@acme/lock-compiled', 'acme', '@acme/lock-compiled'],
  ['@acme/lock-import-only', 'acme', '@acme/lock-import-only'],
  ['plain-name.js', 'acme', 'plain-name.js'],
  ['./adapters/lock.js', 'local', './adapters/lock.js'],
  ['../host/adapters/lock.js', 'local', '../host/adapters/lock.js'],
  [absolute, 'local', absolute],
  [fileUrl, 'local', fileUrl],
]

const refused: readonly (readonly [adapter: string, code: string, ...words: string[]])[] = [
  // An adapter of ours that exists but is not installed.
  [
    'redis',
    'NOT_FOUND',
    'LOCK_ADAPTER=redis: @multinode/lock-redis is not installed',
    'npm install @multinode/lock-redis',
    'or set LOCK_ADAPTER=memory',
    `Looked in ${host.root} and above`,
  ],
  // One that does not exist for this capability.
  [
    'rabbitmq',
    'NOT_FOUND',
    'there is no adapter "rabbitmq" for lock',
    'Registered: memory, code',
    'redis (npm install @multinode/lock-redis)',
    'or set LOCK_ADAPTER=memory',
  ],
  ['@acme/lock-zookeeper', 'NOT_FOUND', 'npm install @acme/lock-zookeeper', 'or set LOCK_ADAPTER=memory'],
  ['./adapters/none.js', 'NOT_FOUND', 'LOCK_ADAPTER=./adapters/none.js', 'no such file', host.root],
  ['@multinode/lock-redis', 'NOT_FOUND', 'is not installed', 'npm install @multinode/lock-redis'],
  ['file://elsewhere/lock.js', 'NOT_FOUND', 'no such file'],
  // A module of Node itself is no package of the host.
  ['child_process', 'NOT_FOUND', 'is not installed'],
  [
    'Redis',
    'MISCONFIGURED',
    'LOCK_ADAPTER=Redis is no adapter',
    'Registered: memory, code; to be installed: redis (npm install @multinode/lock-redis)',
  ],
  ['two words', 'MISCONFIGURED', 'LOCK_ADAPTER=two words is no adapter'],
  ['redis://:hunter2@db:6379', 'MISCONFIGURED', 'LOCK_ADAPTER=redis://:***@db:6379 is no adapter'],
  ['@acme/throws', 'MISCONFIGURED', 'could not be loaded: no native binding for redis://:***@db'],
  ['@acme/broken', 'MISCONFIGURED', 'LOCK_ADAPTER=@acme/broken', 'could not be loaded'],
  ['@acme/misses', 'MISCONFIGURED', 'could not be loaded', 'not-there'],
  ['@acme/no-plugin', 'MISCONFIGURED', '@acme/no-plugin is no multinode plugin'],
  ['@acme/no-default', 'MISCONFIGURED', '@acme/no-default is no multinode plugin'],
  ['@acme/factory', 'MISCONFIGURED', '@acme/factory is no multinode plugin'],
  ['@acme/for-cache', 'MISCONFIGURED', '@acme/for-cache is a plugin for cache, not for lock'],
  ['@acme/api-2', 'MISCONFIGURED', '@acme/api-2 speaks version 2', 'this @multinode/core speaks 1'],
]

describe('loadPlugin', () => {
  let results: readonly Result[] = []
  const resultOf = (adapter: string): Result | undefined => results.find((each) => each.adapter === adapter)

  beforeAll(async () => {
    const adapters = [...loaded, ...refused].map(([adapter]) =>
      adapter.replace('../host/', `../${path.basename(host.root)}/`),
    )
    const args = [scriptPath('registry/load-plugin.script.ts'), main, ...adapters]
    const { stdout, stderr, code } = await new PlainNode(args, { cwd: host.root }).ended
    if (code !== 0) throw new Error(stderr)
    results = JSON.parse(stdout.replaceAll(`../${path.basename(host.root)}/`, '../host/'))
  })

  test.each(loaded)('loads %s', (adapter, backend, from) => {
    expect(resultOf(adapter)).toEqual({ adapter, backend, from })
  })

  test.each(refused)('refuses %s with %s and says what to do', (adapter, code, ...words) => {
    expect(resultOf(adapter)).toMatchObject({ code })
    for (const word of words) expect(resultOf(adapter)?.message).toContain(word)
    expect(resultOf(adapter)?.message).not.toContain('hunter2')
  })

  test('keeps the cause of a package that fails while it is loaded', () => {
    expect(resultOf('@acme/throws')?.hasCause).toBe(true)
  })
})

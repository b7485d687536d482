/** Which files a package has, and where: the folder tree is the table of contents. */
import { posix } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  importsOf,
  isPublished,
  kindOf,
  type Package,
  packages,
  type TextFile,
  withoutComments,
} from './repository.ts'

const ofPrivate = ['README.md', 'package.json', 'src', 'test', 'tsconfig.json']
const ofPublished = [...ofPrivate, 'CHANGELOG.md', 'LICENSE', 'tsconfig.build.json']

function wrongRoot(each: Package): string[] {
  const expected = isPublished(each) ? ofPublished : ofPrivate
  const found = new Set(each.files.map(({ path }) => path.split('/')[0] ?? ''))
  // changesets writes it with the first release.
  const notYet = each.manifest.version === '0.0.0' ? ['CHANGELOG.md'] : []
  const missing = expected.filter((name) => !found.has(name) && !notYet.includes(name))
  const surplus = [...found].filter((name) => !expected.includes(name))
  return [
    ...missing.map((name) => `${each.folder} lacks ${name}`),
    ...surplus.map((name) => `${each.folder}/${name} does not belong there`),
  ]
}

function wrongAdapter({ folder, files }: Package): string[] {
  const backend = folder.split('-').at(-1)
  const driver = new RegExp(`^src/${backend}-[a-z-]+\\.ts$`)
  const paths = files.map(({ path }) => path)
  const required = ['src/index.ts', 'src/plugin.ts', 'test/conformance.integration.test.ts']
  return [
    ...required.filter((path) => !paths.includes(path)).map((path) => `${folder} lacks ${path}`),
    ...(paths.some((path) => driver.test(path)) ? [] : [`${folder} lacks src/${backend}-<thing>.ts`]),
  ]
}

/** A script lives in a file of its own, so that a reader and a test can find all of them. */
function luaElsewhere({ folder, files }: Package): string[] {
  const sources = files.filter(({ path }) => path.startsWith('src/') && !path.endsWith('.lua.ts'))
  return sources
    .filter(({ path, text }) => path.endsWith('.lua') || /\bredis\.p?call\(/.test(withoutComments(text)))
    .map(({ path }) => `${folder}/${path} holds Lua: move it to <name>.lua.ts`)
}

/** The vitest project `unit` runs where there are no servers, and takes all tests that are not named so. */
function needsServersUnnamed({ folder, files }: Package): string[] {
  const byPath = new Map(files.map((file) => [file.path, file]))
  const tests = files.filter(({ path }) => /^test\/.*(?<!\.integration)\.test\.ts$/.test(path))
  return tests
    .filter((file) => startsServers(file, byPath, new Set()))
    .map(({ path }) => `${folder}/${path} starts servers: name it *.integration.test.ts`)
}

/** By itself or through a file next to it. */
function startsServers(file: TextFile, byPath: Map<string, TextFile>, seen: Set<string>): boolean {
  if (seen.has(file.path)) return false
  seen.add(file.path)
  if (/\bstart[A-Z]\w*[^'"`;=]*\bfrom '@multinode\/testbed'/.test(withoutComments(file.text))) return true
  return importsOf(file.text).some((specifier) => {
    const path = posix.join(posix.dirname(file.path), specifier)
    const next = specifier.startsWith('.') && path.startsWith('test/') ? byPath.get(path) : undefined
    return next !== undefined && startsServers(next, byPath, seen)
  })
}

const all = packages()
const libraries = all.filter(({ kind }) => kind !== 'app')

describe('shape of a package', () => {
  test('it has these files and folders, and nothing else', () => {
    expect(libraries.flatMap(wrongRoot)).toEqual([])
  })

  test('an adapter has its exports, its plugin, its driver and its conformance run', () => {
    const adapters = all.filter(({ kind }) => kind === 'adapter')
    expect(adapters.length).toBeGreaterThan(0)
    expect(adapters.flatMap(wrongAdapter)).toEqual([])
  })

  test('Lua is in *.lua.ts only', () => {
    expect(libraries.filter(isPublished).flatMap(luaElsewhere)).toEqual([])
  })

  test('tests that start servers are named *.integration.test.ts', () => {
    expect(libraries.flatMap(needsServersUnnamed)).toEqual([])
  })
})

describe('the rules can fail', () => {
  const files = ['LICENSE', 'README.md', 'package.json', 'tsconfig.json', 'tsconfig.build.json']
  const good = [...files, 'src/index.ts', 'src/plugin.ts', 'src/redis-lock.ts']
  const whole = [...good, 'test/conformance.integration.test.ts']

  test('a missing, a surplus file; no changelog after a release', () => {
    expect(wrongRoot(madeUp(whole))).toEqual([])
    expect(wrongRoot(madeUp(good))).toEqual(['packages/lock-redis lacks test'])
    expect(wrongRoot(madeUp([...whole, 'notes.txt']))).toHaveLength(1)
    expect(wrongRoot(madeUp(whole, '1.0.0'))).toEqual(['packages/lock-redis lacks CHANGELOG.md'])
  })

  test('an adapter without its driver file', () => {
    expect(wrongAdapter(madeUp(whole))).toEqual([])
    expect(wrongAdapter(madeUp(whole.filter((path) => path !== 'src/redis-lock.ts')))).toHaveLength(1)
    expect(wrongAdapter(madeUp([]))).toHaveLength(4)
  })

  test('Lua in a driver', () => {
    const lua = "const script = `redis.call('GET', KEYS[1])`"
    expect(luaElsewhere(madeUp(['src/get.lua.ts'], '0.0.0', lua))).toEqual([])
    expect(luaElsewhere(madeUp(['src/redis-lock.ts'], '0.0.0', lua))).toHaveLength(1)
    expect(luaElsewhere(madeUp(['src/get.lua']))).toHaveLength(1)
  })

  test('a unit test that starts a server, by itself or through a helper', () => {
    const direct = "import { serversAvailable, startRedis } from '@multinode/testbed'\n"
    expect(needsServersUnnamed(madeUp(['test/a.test.ts'], '0.0.0', direct))).toHaveLength(1)
    expect(needsServersUnnamed(madeUp(['test/a.integration.test.ts'], '0.0.0', direct))).toEqual([])
    const through = { path: 'test/a.test.ts', text: "import { start } from './helper.ts'\n" }
    const helper = { path: 'test/helper.ts', text: direct }
    expect(needsServersUnnamed({ ...madeUp([]), files: [through, helper] })).toHaveLength(1)
  })
})

function madeUp(paths: readonly string[], version = '0.0.0', text = ''): Package {
  const folder = 'packages/lock-redis'
  const manifest = { name: '@multinode/lock-redis', version }
  return { folder, kind: kindOf(folder), manifest, files: paths.map((path) => ({ path, text })) }
}

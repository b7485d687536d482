/**
 * Who may depend on whom: core <- {conformance, connection-*} <- adapters <- apps. Judged twice, by what a package
 * declares and by what its files import, because each can lie about the other.
 */
import { describe, expect, test } from 'vitest'
import {
  importsOf,
  isCode,
  isPublished,
  type Kind,
  kindOf,
  type Package,
  packageOf,
  packages,
} from './repository.ts'

const scope = '@multinode/'

/** What each kind may use of ours when it runs at a user's; private ones run only here and may use anything below. */
const atRunTime: Readonly<Record<Kind, readonly Kind[]>> = {
  core: [],
  conformance: ['core'],
  connection: ['core'],
  adapter: ['core', 'connection'],
  standalone: [],
  testbed: [],
  app: ['core', 'conformance', 'connection', 'adapter', 'standalone', 'testbed'],
  unknown: [],
}

/** What its tests may use besides. core's must not use conformance: that would be a cycle. */
const inTests: Readonly<Record<Kind, readonly Kind[]>> = {
  core: ['testbed'],
  conformance: ['testbed'],
  connection: ['testbed'],
  adapter: ['conformance', 'testbed'],
  standalone: ['core', 'conformance', 'adapter', 'testbed'],
  testbed: [],
  app: [],
  unknown: [],
}

/** The root provides the test runner for all; every other module must be declared where it is imported. */
const fromTheRoot = ['vitest']

/** A host program of the e2e tests runs in a folder of its own, with what is installed there. */
const runsElsewhere = /^e2e\/hosts\//

type Use = { readonly by: Package; readonly name: string; readonly place: string; readonly inTest: boolean }

function declaredUses(by: Package): Use[] {
  const { dependencies, peerDependencies, optionalDependencies, devDependencies } = by.manifest
  const run = Object.keys({ ...dependencies, ...peerDependencies, ...optionalDependencies })
  const place = `${by.folder}/package.json`
  return [
    ...run.map((name) => ({ by, name, place, inTest: false })),
    ...Object.keys(devDependencies ?? {}).map((name) => ({ by, name, place, inTest: true })),
  ]
}

function importedUses(by: Package): Use[] {
  const files = by.files.filter(({ path }) => isCode(path) && !runsElsewhere.test(path))
  return files.flatMap(({ path, text }) =>
    importsOf(text)
      .map(packageOf)
      .filter((name) => name !== undefined && name !== by.manifest.name)
      .map((name = '') => ({ by, name, place: `${by.folder}/${path}`, inTest: !path.startsWith('src/') })),
  )
}

function wrongDirection(uses: readonly Use[]): string[] {
  const ours = uses.filter(({ name }) => name.startsWith(scope))
  return ours
    .filter(({ by, name, inTest }) => {
      const target = kindOf(`packages/${name.slice(scope.length)}`)
      return !atRunTime[by.kind].includes(target) && !(inTest && inTests[by.kind].includes(target))
    })
    .map(({ place, name, inTest }) => `${place} must not use ${name}${inTest ? '' : ' at run time'}`)
}

function undeclared(uses: readonly Use[]): string[] {
  return uses
    .filter(({ by, name, inTest }) => {
      const { dependencies, peerDependencies, devDependencies } = by.manifest
      const development = inTest || !isPublished(by)
      const declared = { ...dependencies, ...peerDependencies, ...(development ? devDependencies : {}) }
      return !(name in declared) && !(development && fromTheRoot.includes(name))
    })
    .map(
      ({ by, place, name }) => `${place} imports ${name}, which ${by.folder}/package.json does not declare`,
    )
}

/** A host has one core: its registry and its error class are shared by all packages. */
function coreNotAsPeer(all: readonly Package[]): string[] {
  const users = all.filter(({ kind }) => ['conformance', 'connection', 'adapter'].includes(kind))
  return users
    .filter(({ manifest }) => {
      const { dependencies, peerDependencies, devDependencies } = manifest
      const core = `${scope}core`
      return (
        core in { ...dependencies } || !(core in { ...peerDependencies } && core in { ...devDependencies })
      )
    })
    .map(({ folder }) => `${folder}: core must be in peerDependencies and devDependencies, and in no other`)
}

const all = packages()

describe('direction of dependencies', () => {
  test('every folder has a name that says its kind', () => {
    expect(all.filter(({ kind }) => kind === 'unknown').map(({ folder }) => folder)).toEqual([])
    expect(all.map(({ folder }) => folder)).toContain('packages/core')
  })

  test('no package declares a dependency against the direction', () => {
    expect(wrongDirection(all.flatMap(declaredUses))).toEqual([])
  })

  test('no file imports against the direction', () => {
    const uses = all.flatMap(importedUses)
    expect(uses.length).toBeGreaterThan(0)
    expect(wrongDirection(uses)).toEqual([])
  })

  test('every import is declared', () => {
    expect(undeclared(all.flatMap(importedUses))).toEqual([])
  })

  test('core is a peer and a development dependency of what extends it', () => {
    expect(coreNotAsPeer(all)).toEqual([])
  })
})

describe('the rules can fail', () => {
  test.each([
    ['an adapter on another adapter', 'queue-redis', 'lock-redis', 'src'],
    ['an adapter on another adapter, in a test', 'queue-redis', 'lock-redis', 'test'],
    ['core on conformance, in a test', 'core', 'conformance', 'test'],
    ['core on a connection', 'core', 'connection-redis', 'src'],
    ['conformance on a connection', 'conformance', 'connection-redis', 'src'],
    ['a published package on testbed', 'lock-redis', 'testbed', 'src'],
    ['an adapter on conformance', 'lock-redis', 'conformance', 'src'],
    ['snowflake-id on core', 'snowflake-id', 'core', 'src'],
    ['testbed on core', 'testbed', 'core', 'src'],
    ['a package on an app', 'lock-redis', 'demo', 'test'],
  ])('%s', (_, name, used, place) => {
    const field = place === 'src' ? 'peerDependencies' : 'devDependencies'
    const made = madeUp(name, { [field]: { [scope + used]: 'workspace:^' } }, place, scope + used)
    expect(wrongDirection(declaredUses(made))).toHaveLength(1)
    expect(wrongDirection(importedUses(made))).toHaveLength(1)
  })

  test('what is allowed passes', () => {
    const made = madeUp('lock-redis', {}, 'src', `${scope}connection-redis`)
    expect(wrongDirection(importedUses(made))).toEqual([])
    const tested = madeUp('lock-redis', {}, 'test', `${scope}conformance`)
    expect(wrongDirection(importedUses(tested))).toEqual([])
  })

  test('a development dependency does not cover an import in src', () => {
    const field = { devDependencies: { ioredis: 'catalog:' } }
    expect(undeclared(importedUses(madeUp('lock-redis', field, 'src', 'ioredis')))).toHaveLength(1)
    expect(undeclared(importedUses(madeUp('lock-redis', field, 'test', 'ioredis')))).toEqual([])
    expect(undeclared(importedUses(madeUp('lock-redis', {}, 'src', 'vitest')))).toHaveLength(1)
  })

  test('core as an ordinary dependency, or only as a peer', () => {
    const core = { [`${scope}core`]: 'workspace:^' }
    const both = { peerDependencies: core, devDependencies: core }
    expect(coreNotAsPeer([madeUp('lock-redis', both)])).toEqual([])
    expect(coreNotAsPeer([madeUp('lock-redis', { ...both, dependencies: core })])).toHaveLength(1)
    expect(coreNotAsPeer([madeUp('connection-redis', { peerDependencies: core })])).toHaveLength(1)
  })

  test('all forms of import are seen, comments are not', () => {
    const dynamic = 'import'
    const text = [
      "import a from 'a'",
      'import {',
      '  b,',
      "} from 'b/sub'",
      "export * from '@c/c/sub'",
      "import 'd'",
      `const e = await ${dynamic}('e')`,
      `type F = ${dynamic}('f').F`,
      " * import g from 'g'",
      "// import h from 'h'",
      "import { join } from 'node:path'",
      "import own from './own.ts'",
    ].join('\n')
    const found = importsOf(text).map(packageOf)
    expect(found.filter((name) => name !== undefined).toSorted()).toEqual(['@c/c', 'a', 'b', 'd', 'e', 'f'])
  })
})

function madeUp(name: string, fields: object, place = 'src', imported = 'node:path'): Package {
  return {
    folder: `packages/${name}`,
    kind: kindOf(`packages/${name}`),
    manifest: { name: scope + name, version: '0.0.0', ...fields },
    files: [{ path: `${place}/index.ts`, text: `import { x } from '${imported}'\n` }],
  }
}

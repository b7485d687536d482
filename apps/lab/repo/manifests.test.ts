/** What the package.json of each package says; `packages/core` is the model for the scripts. */
import { isDeepStrictEqual } from 'node:util'
import { describe, expect, test } from 'vitest'
import { isPublished, kindOf, type Manifest, type Package, packages, readManifest } from './repository.ts'

const scope = '@multinode/'

const sameEverywhere: Readonly<Record<string, unknown>> = {
  license: 'MIT',
  type: 'module',
  sideEffects: false,
  files: ['dist', 'src'],
  engines: { node: '>=22.12' },
}
const scripts = ['build', 'packcheck', 'prepack']

function wrongFields({ folder, manifest }: Package, model: Manifest): string[] {
  const name = scope + (folder.split('/')[1] ?? '')
  const expected: Record<string, unknown> = { name, ...sameEverywhere }
  const { description } = manifest
  return [
    ...Object.entries(expected)
      .filter(([field, value]) => !isDeepStrictEqual(manifest[field], value))
      .map(([field, value]) => `${folder}: ${field} must be ${JSON.stringify(value)}`),
    ...scripts
      .filter((script) => manifest.scripts?.[script] !== model.scripts?.[script])
      .map((script) => `${folder}: the script ${script} differs from that of ${model.name}`),
    ...(typeof description === 'string' && description !== '' ? [] : [`${folder} has no description`]),
  ]
}

/** Here a package runs from src; a user gets the same entries from dist. */
function wrongExports({ folder, manifest }: Package): string[] {
  const { exports = {}, publishConfig = {} } = manifest
  const expected = Object.fromEntries(
    Object.entries(exports).map(([entry, target]) => {
      const dist = target.replace('./src/', './dist/').replace(/\.ts$/, '')
      return [entry, target.endsWith('.ts') ? { types: `${dist}.d.ts`, default: `${dist}.js` } : target]
    }),
  )
  const notFromSource = Object.entries(exports)
    .filter(([entry, target]) => entry !== './package.json' && !/^\.\/src\/[\w./-]+\.ts$/.test(target))
    .map(([entry]) => `${folder}: exports ${entry} must lead to a file of src`)
  const required = ['.', './package.json'].filter((entry) => !(entry in exports))
  return [
    ...notFromSource,
    ...required.map((entry) => `${folder}: exports lack ${entry}`),
    ...(isDeepStrictEqual(publishConfig['exports'], expected)
      ? []
      : [`${folder}: publishConfig.exports must be ${JSON.stringify(expected)}`]),
  ]
}

/** Where it is published to is up to who publishes: a package that names a registry cannot be rehearsed. */
function wrongPublishing({ folder, manifest }: Package): string[] {
  const { publishConfig = {} } = manifest
  return [
    ...(publishConfig['access'] === 'public' ? [] : [`${folder}: publishConfig.access must be public`]),
    ...('registry' in publishConfig ? [`${folder}: publishConfig must name no registry`] : []),
  ]
}

/** Outside versions are in the catalog of pnpm-workspace.yaml; a peer range is a promise to users and may be wider. */
function wrongVersions(folder: string, manifest: Manifest): string[] {
  const { dependencies, devDependencies, optionalDependencies, peerDependencies } = manifest
  const installed = [dependencies, devDependencies, optionalDependencies].flatMap((each) =>
    Object.entries(each ?? {}),
  )
  const ours = [...installed, ...Object.entries(peerDependencies ?? {})].filter(([name]) =>
    name.startsWith(scope),
  )
  const outside = installed.filter(([name]) => !name.startsWith(scope))
  return [
    ...ours.filter(([, version]) => version !== 'workspace:^').map(([name]) => `${name} must be workspace:^`),
    ...outside.filter(([, version]) => version !== 'catalog:').map(([name]) => `${name} must be catalog:`),
  ].map((violation) => `${folder}: ${violation}`)
}

const all = packages()
const published = all.filter(isPublished)
const core = readManifest('packages/core/package.json')

describe('package.json of published packages', () => {
  test('there are some', () => {
    expect(published.map(({ manifest }) => manifest.name)).toContain('@multinode/core')
  })

  test('the same fields and scripts everywhere', () => {
    expect(published.flatMap((each) => wrongFields(each, core))).toEqual([])
  })

  test('exports lead to src here, and to the same entries of dist when published', () => {
    expect(published.flatMap(wrongExports)).toEqual([])
  })

  test('public, and to no particular registry', () => {
    expect(published.flatMap(wrongPublishing)).toEqual([])
  })
})

describe('package.json of all packages', () => {
  test('apps and testbed are private', () => {
    const kept = all.filter(({ kind }) => kind === 'app' || kind === 'testbed')
    expect(kept.filter(isPublished).map(({ folder }) => folder)).toEqual([])
  })

  test('versions come from the catalog and from the workspace', () => {
    const root = readManifest('package.json')
    const manifests = all.map(({ folder, manifest }) => [folder, manifest] as const)
    const violations = [['root', root] as const, ...manifests].flatMap(([folder, manifest]) =>
      wrongVersions(folder, manifest),
    )
    expect(violations).toEqual([])
  })
})

describe('the rules can fail', () => {
  test.each([
    [{ name: '@multinode/other' }, 1],
    [{ license: 'ISC' }, 1],
    [{ sideEffects: undefined }, 1],
    [{ files: ['dist'] }, 1],
    [{ engines: { node: '>=20' } }, 1],
    [{ scripts: { ...core.scripts, build: 'tsc' } }, 1],
    [{ scripts: {} }, scripts.length],
    [{ description: '' }, 1],
  ])('fields %j', (fields, count) => {
    expect(wrongFields(madeUp(fields), core)).toHaveLength(count)
  })

  test.each([
    [{ exports: { ...core.exports, './more': './src/more.ts' } }],
    [{ exports: { ...core.exports, '.': './dist/index.js' } }],
    [{ publishConfig: { access: 'public' } }],
  ])('exports %j', (fields) => {
    expect(wrongExports(madeUp(fields))).not.toEqual([])
  })

  test('publishing', () => {
    expect(wrongPublishing(madeUp({ publishConfig: {} }))).toHaveLength(1)
    const elsewhere = { access: 'public', registry: 'https://elsewhere.invalid/' }
    expect(wrongPublishing(madeUp({ publishConfig: elsewhere }))).toHaveLength(1)
  })

  test('versions', () => {
    const manifest = (fields: object): Manifest => madeUp(fields).manifest
    expect(wrongVersions('x', manifest({ dependencies: { ioredis: '^6.0.0' } }))).toHaveLength(1)
    expect(wrongVersions('x', manifest({ devDependencies: { '@multinode/core': '*' } }))).toHaveLength(1)
    expect(wrongVersions('x', manifest({ peerDependencies: { '@multinode/core': '>=1' } }))).toHaveLength(1)
    expect(wrongVersions('x', manifest({ peerDependencies: { vitest: '>=3' } }))).toEqual([])
  })

  test('the model itself passes', () => {
    const made = madeUp({})
    expect([...wrongFields(made, core), ...wrongExports(made), ...wrongPublishing(made)]).toEqual([])
  })
})

/** core's own manifest with other fields. */
function madeUp(fields: object): Package {
  const folder = 'packages/core'
  return { folder, kind: kindOf(folder), manifest: { ...core, ...fields }, files: [] }
}

import { mkdirSync, symlinkSync } from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { resolvePackage, resolvePath, toFolder } from '../../src/registry/resolve-module.ts'
import { HostFolder } from '../support/host-folder.ts'
import { PlainNode, sourceUrl } from '../support/plain-node.ts'

const host = new HostFolder()
afterAll(() => host[Symbol.dispose]())

const main = host.write('app/main.js', '')
const release = host.write('releases/shop-1.2.3/main.js', '')

describe('toFolder', () => {
  test('of a folder is the folder, also with a dot in its name, as deployments have it', () => {
    expect(toFolder(path.dirname(main))).toBe(path.dirname(main))
    expect(toFolder(path.dirname(release))).toBe(path.dirname(release))
    expect(toFolder(`${path.dirname(main)}/`)).toBe(path.dirname(main))
  })

  test('of a file is its folder', () => {
    expect(toFolder(main)).toBe(path.dirname(main))
    expect(toFolder(release)).toBe(path.dirname(release))
  })

  test('of import.meta.url is the folder of that module', () => {
    expect(toFolder(pathToFileURL(main).href)).toBe(path.dirname(main))
    expect(toFolder(import.meta.url)).toBe(import.meta.dirname)
  })

  test('of a link in a bin folder is the folder of the file that it leads to', () => {
    mkdirSync(path.join(host.root, 'bin'))
    symlinkSync(main, path.join(host.root, 'bin/shop'))
    expect(toFolder(path.join(host.root, 'bin/shop'))).toBe(path.dirname(main))
  })

  test('of a main module that was named without its extension is its folder', () => {
    expect(toFolder(main.slice(0, -3))).toBe(path.dirname(main))
  })

  test('of a relative path is seen from the working directory', () => {
    expect(toFolder(path.relative(process.cwd(), main))).toBe(path.dirname(main))
  })
})

describe('defaultResolveFrom', () => {
  const script = `import { defaultResolveFrom, toFolder } from '${sourceUrl('registry/resolve-module.ts')}'
    console.log(toFolder(defaultResolveFrom()))`
  const entry = host.write('service.app/index.mjs', script)
  host.write('service.app/package.json', JSON.stringify({ main: 'index.mjs' }))
  const folder = path.dirname(entry)

  test.concurrent.each([
    ['a file', ['index.mjs'], folder],
    ['a file of another folder', ['service.app/index.mjs'], host.root],
    ['the folder of a package', ['.'], folder],
    ['code on the command line', ['--input-type=module', '--eval', script], folder],
  ])('is the folder of the main module when node runs %s', async (_, args, cwd) => {
    const { stdout, stderr } = await new PlainNode(args, { cwd }).ended
    expect({ stdout, stderr }).toEqual({ stdout: `${folder}\n`, stderr: '' })
  })
})

describe('resolvePath', () => {
  test('gives the URL of a file that exists', () => {
    expect(resolvePath(main)).toBe(pathToFileURL(main).href)
    expect(resolvePath(pathToFileURL(main).href)).toBe(pathToFileURL(main).href)
    expect(resolvePath(`./${path.relative(process.cwd(), main)}`)).toBe(pathToFileURL(main).href)
  })

  test('gives undefined for one that does not', () => {
    expect(resolvePath('./no/such/file.js')).toBeUndefined()
  })
})

describe('resolvePackage', () => {
  const module = { 'index.js': '', 'index.cjs': '', 'other.js': '' }
  const resolve = (name: string, exports: unknown, folder = path.dirname(main)): string | undefined => {
    host.install(name, { type: 'module', exports }, module)
    const url = resolvePackage(name, folder)
    return url?.replace(`${pathToFileURL(host.root).href}/node_modules/${name}/`, '')
  }

  test.each<readonly [string, unknown, string | undefined]>([
    ['one entry', './index.js', 'index.js'],
    ['an entry under a dot', { '.': './index.js' }, 'index.js'],
    ['import and require', { import: './index.js', require: './index.cjs' }, 'index.cjs'],
    ['import alone', { import: './index.js' }, 'index.js'],
    ['import alone, with types first', { '.': { types: './index.d.ts', import: './index.js' } }, 'index.js'],
    [
      'import with conditions of its own',
      { '.': { import: { types: './x.d.ts', default: './index.js' } } },
      'index.js',
    ],
    ['import below node', { node: { import: './index.js' }, default: './other.js' }, 'other.js'],
    [
      'a node condition that leads nowhere',
      { node: { deno: './other.js' }, import: './index.js' },
      'index.js',
    ],
    ['no entry', { './other': './other.js' }, undefined],
    ['an entry for browsers alone', { browser: './index.js' }, undefined],
  ])('finds a package that exports %s', (title, exports, entry) => {
    expect(resolve(`exports-${title.replaceAll(/\W/g, '-').toLowerCase()}`, exports)).toBe(entry)
  })

  test('finds a scoped package, from a folder below', () => {
    expect(resolve('@acme/lock-etcd', { import: './index.js' }, path.join(host.root, 'app/deep/er'))).toBe(
      'index.js',
    )
  })

  test('does not find what the host cannot see', () => {
    host.write('elsewhere/node_modules/hidden/package.json', JSON.stringify({ name: 'hidden', main: 'i.js' }))
    host.write('elsewhere/node_modules/hidden/i.js', '')
    expect(resolvePackage('hidden', path.dirname(main))).toBeUndefined()
    expect(resolvePackage('hidden', path.join(host.root, 'elsewhere'))).toMatch(/hidden\/i\.js$/)
  })
})

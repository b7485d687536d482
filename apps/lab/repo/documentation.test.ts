/** What readers must be able to look up: every variable that is read, every error code, every test that is named. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type Package, packages, readText, type TextFile, withoutComments, workspace } from './repository.ts'

const operations = 'docs/operations.md'
const guarantees = 'docs/guarantees.md'

/**
 * By where they are written out: names of more than one word between quotes in core, less error codes, ours and
 * Node's; and whatever reads `env.NAME`.
 */
function variablesRead(files: readonly TextFile[], codes: readonly string[]): string[] {
  const inCore = files.filter(({ path }) => /^packages\/core\/src\/(?:registry|cluster)\//.test(path))
  const quoted = namesIn(inCore, /'([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)'/g)
  const direct = namesIn(files, /\benv(?:\.|\[['"])([A-Z][A-Z0-9_]*)/g)
  const others = [...codes, ...quoted.filter((name) => name.startsWith('ERR_'))]
  return [...new Set([...quoted, ...direct])].filter((name) => !others.includes(name)).toSorted()
}

/** Paths of this repository between backquotes. */
function filesNamed(text: string): string[] {
  return [...text.matchAll(/`((?:packages|apps|docs)\/[^`\s]+)`/g)].map(([, path = '']) => path)
}

/** The names that core puts together: `<CAPABILITY>_ADAPTER_<BACKEND>_URL` and `<BACKEND>_URL` of each adapter. */
function variablesOfAdapters(all: readonly Package[]): string[] {
  const names = all
    .filter(({ kind }) => kind === 'adapter')
    .flatMap(({ folder }) => {
      const [capability, backend] = folder.replace('packages/', '').toUpperCase().split('-')
      return [`${capability}_ADAPTER_${backend}_URL`, `${backend}_URL`]
    })
  return [...new Set(names)]
}

function errorCodes(source: string): string[] {
  const union = /export type ErrorCode =((?:\s*\| '[A-Z_]+')+)/.exec(source)?.[1] ?? ''
  return [...union.matchAll(/'([A-Z_]+)'/g)].map((match) => match[1] ?? '')
}

/** Only whole names count: `LOCK_ADAPTER_DEFAULT` does not document `LOCK_ADAPTER`. */
function undocumented(names: readonly string[], documents: string): string[] {
  return names.filter((name) => !new RegExp(`(?<![A-Za-z0-9_])${name}(?![A-Za-z0-9_])`).test(documents))
}

function namesIn(files: readonly TextFile[], pattern: RegExp): string[] {
  return files.flatMap(({ text }) =>
    [...withoutComments(text).matchAll(pattern)].map((match) => match[1] ?? ''),
  )
}

const all = packages()
const codes = errorCodes(readText('packages/core/src/errors/multinode-error.ts'))
const sources = all
  .filter(({ manifest }) => manifest.private !== true)
  .flatMap(({ folder, files }) => files.map(({ path, text }) => ({ path: `${folder}/${path}`, text })))
  .filter(({ path }) => path.includes('/src/'))

describe('documentation for operators', () => {
  test('names every environment variable', () => {
    const names = [...variablesRead(sources, codes), ...variablesOfAdapters(all)]
    expect(names).toEqual(
      expect.arrayContaining(['CLUSTER_NAME', 'LOCK_ADAPTER', 'NODE_ID', 'RABBITMQ_HOST']),
    )
    expect(undocumented(names, readText(operations))).toEqual([])
  })

  test('names every error code', () => {
    expect(codes).toEqual(expect.arrayContaining(['TIMEOUT', 'LOST', 'MISCONFIGURED']))
    expect(undocumented(codes, readText(guarantees) + readText(operations))).toEqual([])
  })
})

describe('what documents point at', () => {
  test('every file that the guarantees name exists', () => {
    const named = filesNamed(readText(guarantees))
    expect(named.length).toBeGreaterThan(10)
    expect(named.filter((path) => !existsSync(join(workspace, path)))).toEqual([])
  })
})

describe('the rules can fail', () => {
  test('a file that does not exist is found out', () => {
    expect(filesNamed('see `packages/core/test/a.test.ts`, `apps/lab`')).toEqual([
      'packages/core/test/a.test.ts',
      'apps/lab',
    ])
    expect(existsSync(join(workspace, 'packages/core/test/a.test.ts'))).toBe(false)
  })

  test('a variable that is only part of another name is not documented', () => {
    const text = '`LOCK_ADAPTER_REDIS_URL`, `CLUSTER_NAME`'
    expect(undocumented(['LOCK_ADAPTER', 'CLUSTER_NAME', 'REDIS_URL'], text)).toEqual([
      'LOCK_ADAPTER',
      'REDIS_URL',
    ])
  })

  test('variables are found where they are read, error codes are left out', () => {
    const core = { path: 'packages/core/src/registry/x.ts', text: "read(['NODE_ID']); error('NOT_FOUND')" }
    const other = { path: 'packages/lock-redis/src/x.ts', text: "process.env['LOCK_X']; process.env.LOCK_Y" }
    expect(variablesRead([core, other], ['NOT_FOUND'])).toEqual(['LOCK_X', 'LOCK_Y', 'NODE_ID'])
  })

  test('names that core puts together', () => {
    const adapter = { kind: 'adapter', folder: 'packages/queue-rabbitmq', files: [] } as const
    const manifest = { name: '@multinode/queue-rabbitmq', version: '0.0.0' }
    expect(variablesOfAdapters([{ ...adapter, manifest }])).toEqual([
      'QUEUE_ADAPTER_RABBITMQ_URL',
      'RABBITMQ_URL',
    ])
  })

  test('error codes are read from the type', () => {
    expect(errorCodes("export type ErrorCode =\n  | 'A_B'\n  | 'C'\n\nexport const x = 'D'")).toEqual([
      'A_B',
      'C',
    ])
  })
})

/** The facts that the repository rules look at: files, packages, imports. Reads only. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const workspace: string = fileURLToPath(new URL('../../..', import.meta.url))

export interface TextFile {
  /** From the root of the repository, with `/`. */
  readonly path: string
  readonly text: string
}

export interface Manifest {
  readonly name: string
  readonly version: string
  readonly private?: boolean
  readonly exports?: Readonly<Record<string, string>>
  readonly scripts?: Readonly<Record<string, string>>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly publishConfig?: Readonly<Record<string, unknown>>
  readonly [field: string]: unknown
}

/** The place of a package in the direction of dependencies. */
export type Kind =
  | 'core'
  | 'conformance'
  | 'connection'
  | 'adapter'
  | 'standalone'
  | 'testbed'
  | 'app'
  | 'unknown'

export interface Package {
  /** `packages/core`, `apps/demo`. */
  readonly folder: string
  readonly kind: Kind
  readonly manifest: Manifest
  /** Paths are from the package's folder. */
  readonly files: readonly TextFile[]
}

/** What a commit of everything would contain, without binary files. */
export function textFiles(): TextFile[] {
  return listFiles()
    .map((path) => ({ path, text: readText(path) }))
    .filter(({ text }) => !text.includes('\0'))
}

export function packages(files: readonly TextFile[] = textFiles()): Package[] {
  const folders = files.map(({ path }) => /^((?:packages|apps)\/[^/]+)\/package\.json$/.exec(path)?.[1])
  return folders
    .filter((folder) => folder !== undefined)
    .map((folder) => ({
      folder,
      kind: kindOf(folder),
      manifest: readManifest(`${folder}/package.json`),
      files: files
        .filter(({ path }) => path.startsWith(`${folder}/`))
        .map(({ path, text }) => ({ path: path.slice(folder.length + 1), text })),
    }))
}

/** By the naming rule of docs and design: what a folder is called says what it may depend on. */
export function kindOf(folder: string): Kind {
  const [parent, name = ''] = folder.split('/')
  if (parent === 'apps') return 'app'
  if (name === 'core' || name === 'conformance' || name === 'testbed') return name
  if (name === 'snowflake-id') return 'standalone'
  if (/^connection-[a-z0-9]+$/.test(name)) return 'connection'
  return /^(pubsub|queue|lock|cache|workerid)-[a-z0-9]+$/.test(name) ? 'adapter' : 'unknown'
}

export function isPublished({ manifest }: Package): boolean {
  return manifest.private !== true
}

export function readManifest(path: string): Manifest {
  return JSON.parse(readText(path))
}

/** The text of a file, or nothing when there is none. */
export function readText(path: string): string {
  const absolute = join(workspace, path)
  return existsSync(absolute) ? readFileSync(absolute, 'utf8') : ''
}

export function isCode(path: string): boolean {
  return /\.[cm]?[jt]sx?$/.test(path)
}

/** Text without comments that have lines of their own; enough to not read an example as code. */
export function withoutComments(text: string): string {
  return text.replaceAll(/^[ \t]*(?:\/\/|\/?\*).*$/gm, '')
}

/** All modules that a file names: imports, re-exports, types, literal dynamic imports. */
export function importsOf(text: string): string[] {
  const code = withoutComments(text)
  const patterns = [
    /^\s*(?:import|export)\s[^'"`;=]*?\bfrom\s*['"]([^'"]+)['"]/gm,
    /^\s*import\s*['"]([^'"]+)['"]/gm,
    /\b(?:import|require|require\.resolve|import\.meta\.resolve)\(\s*['"]([^'"$]+)['"]/g,
  ]
  const found = patterns.flatMap((pattern) => [...code.matchAll(pattern)].map((match) => match[1] ?? ''))
  return [...new Set(found)]
}

/** The package that a module belongs to; nothing for own files and for Node's modules. */
export function packageOf(specifier: string): string | undefined {
  if (/^(?:[./#]|node:|file:)/.test(specifier)) return undefined
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')
}

function listFiles(): string[] {
  // A container often checks out as another user than it tests as; git may still list files there.
  const list = ['-c', 'safe.directory=*', 'ls-files', '-z', '--cached', '--others', '--exclude-standard']
  const listed = execFileSync('git', list, { cwd: workspace, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 })
  // git also lists what was deleted but not yet committed.
  return listed.split('\0').filter((path) => path !== '' && existsSync(join(workspace, path)))
}

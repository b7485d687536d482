import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import is from '@sindresorhus/is'

/** The folder that packages are resolved from: the host app's, because that is where adapters are installed. */
export function defaultResolveFrom(): string {
  const main = process.argv[1]
  return main === undefined ? process.cwd() : path.dirname(main)
}

/** Accepts a folder, a file, or a module's `import.meta.url`. */
export function toFolder(resolveFrom: string): string {
  const location = resolveFrom.startsWith('file:') ? fileURLToPath(resolveFrom) : path.resolve(resolveFrom)
  return path.extname(location) === '' ? location : path.dirname(location)
}

/** The URL of a path, seen from the working directory, or `undefined` when there is no such file. */
export function resolvePath(relative: string): string | undefined {
  const file = relative.startsWith('file:') ? fileURLToPath(relative) : path.resolve(relative)
  return existsSync(file) ? pathToFileURL(file).href : undefined
}

/** The URL of an installed package's entry, or `undefined` when it is not installed where the host can see it. */
export function resolvePackage(packageName: string, folder: string): string | undefined {
  const require = createRequire(path.join(folder, 'host.js'))
  try {
    return pathToFileURL(require.resolve(packageName)).href
  } catch (error) {
    return hasCode(error, 'ERR_PACKAGE_PATH_NOT_EXPORTED')
      ? resolveImportOnly(packageName, require.resolve.paths(packageName) ?? [])
      : undefined
  }
}

/** `require.resolve` does not see packages that export an entry for `import` alone, so that one is looked up here. */
function resolveImportOnly(packageName: string, folders: readonly string[]): string | undefined {
  for (const folder of folders) {
    const root = path.join(folder, packageName)
    const manifest = path.join(root, 'package.json')
    if (!existsSync(manifest)) continue
    const { exports }: { exports?: unknown } = JSON.parse(readFileSync(manifest, 'utf8'))
    const entry = importTarget(is.plainObject(exports) && '.' in exports ? exports['.'] : exports)
    return entry === undefined ? undefined : pathToFileURL(path.join(root, entry)).href
  }
  return undefined
}

function importTarget(target: unknown): string | undefined {
  if (is.string(target)) return target
  if (!is.plainObject(target)) return undefined
  for (const [condition, next] of Object.entries(target)) {
    if (['node', 'import', 'default'].includes(condition)) return importTarget(next)
  }
  return undefined
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}

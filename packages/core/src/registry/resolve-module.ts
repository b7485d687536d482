import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { createRequire, isBuiltin } from 'node:module'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import is from '@sindresorhus/is'

/** What packages are resolved from: the host app's main module, because adapters are installed where it is. */
export function defaultResolveFrom(): string {
  return process.argv[1] ?? process.cwd()
}

/**
 * Accepts a folder (`node .` gives one as the main module), a file (also without its extension, or a link to it from a
 * `bin` folder), or a module's `import.meta.url`.
 */
export function toFolder(resolveFrom: string): string {
  const location = resolveFrom.startsWith('file:') ? fileURLToPath(resolveFrom) : path.resolve(resolveFrom)
  const found = statSync(location, { throwIfNoEntry: false })
  if (found === undefined) return path.dirname(location)
  return found.isDirectory() ? location : path.dirname(realpathSync(location))
}

/** The URL of a path, seen from the working directory, or `undefined` when there is no such file. */
export function resolvePath(relative: string): string | undefined {
  const url = relative.startsWith('file:') ? URL.parse(relative) : pathToFileURL(path.resolve(relative))
  // A file URL with a host names a file of another machine.
  return url?.host === '' && existsSync(url) ? url.href : undefined
}

/** The URL of an installed package's entry, or `undefined` when it is not installed where the host can see it. */
export function resolvePackage(packageName: string, folder: string): string | undefined {
  if (isBuiltin(packageName)) return undefined
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
    const entry = ['node', 'import', 'default'].includes(condition) ? importTarget(next) : undefined
    if (entry !== undefined) return entry
  }
  return undefined
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}

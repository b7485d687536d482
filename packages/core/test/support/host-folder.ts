import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

/** A host app on disk, with packages installed in its `node_modules`. Removed with `using`. */
export class HostFolder implements Disposable {
  readonly root: string = realpathSync(mkdtempSync(path.join(tmpdir(), 'multinode-host-')))

  /** Writes a file below the root and returns its full path. */
  write(relative: string, content: string): string {
    const file = path.join(this.root, relative)
    mkdirSync(path.dirname(file), { recursive: true })
    writeFileSync(file, content)
    return file
  }

  /** Installs a package: its `package.json` without the name, and its files. */
  install(name: string, manifest: object, files: Readonly<Record<string, string>>): void {
    this.write(`node_modules/${name}/package.json`, JSON.stringify({ name, version: '1.0.0', ...manifest }))
    for (const [file, content] of Object.entries(files)) this.write(`node_modules/${name}/${file}`, content)
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true, force: true })
  }
}

/** The source of a plugin object, with the driver's verbs named in `verbs`. */
export function pluginSource({
  capability = 'lock',
  backend = 'acme',
  api = 1,
  verbs = ['acquire', 'extend', 'release', 'cancel', 'ping', 'close'],
} = {}): string {
  return `{
    kind: 'multinode-plugin', api: ${api}, capability: '${capability}', backend: '${backend}', options: {},
    create: async (context) => ({
      features: { scope: 'cluster', order: 'none' },
      address: context.address === undefined ? '${backend}://somewhere' : context.address.url,
      native: null,
      ${verbs.map((verb) => `${verb}: async () => undefined`).join(', ')}
    })
  }`
}

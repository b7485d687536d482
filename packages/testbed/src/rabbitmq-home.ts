import { globSync, mkdirSync, readFileSync, realpathSync, symlinkSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'

/** What runs without any plugin; the first phase of its start is an application of its own. */
const always = ['rabbit', 'rabbitmq_prelaunch']

/**
 * A home for a server, which has only the plugins it uses. Erlang looks for each of a thousand modules in one folder of its path after the other, and the package has 60 of them: 53,000 files that are
 * not there, at two switches of the thread each. Where the package keeps them elsewhere, the server has them all.
 *
 * @returns what rabbitmq-env.conf has to say
 */
export function rabbitmqHome(server: string, folder: string, plugins: readonly string[]): string {
  const all = join(dirname(realpathSync(server)), '../plugins')
  const links = join(folder, 'plugins')
  mkdirSync(links, { recursive: true })
  const needed = closure(all, [...always, ...plugins])
  if (needed.size === 0) return ''
  for (const path of needed) symlinkSync(path, join(links, basename(path)))
  return `RABBITMQ_HOME='${folder}'\nRABBITMQ_PLUGINS_DIR='${links}'\n`
}

/** The folders of those applications, and of all that they need; Erlang's own are elsewhere. */
function closure(all: string, names: readonly string[]): ReadonlySet<string> {
  const found = new Set<string>()
  const open = [...names]
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const [path] = globSync(join(all, `${name}-*`))
    if (path === undefined || found.has(path)) continue
    found.add(path)
    open.push(...needs(join(path, 'ebin', `${name}.app`)))
  }
  return found
}

function needs(appFile: string): string[] {
  const lists = readFileSync(appFile, 'utf8').matchAll(/\{(?:included_)?applications,\s*\[([^\]]*)\]/g)
  return [...lists].flatMap(([, names = '']) => names.split(',').map((name) => name.trim()))
}

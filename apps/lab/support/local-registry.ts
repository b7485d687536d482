/**
 * An npm registry in memory, for rehearsing a release. It holds what is published to it and nothing else: a
 * package outside our scope is refused, nothing is fetched from elsewhere. A host gets the rest from the
 * registry that this machine uses, because the user config of `npmrc()` sends only our scope here.
 */
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { machineEnvironment } from './machine-environment.ts'
import { run } from './run.ts'

export const scope = '@multinode'

type Manifest = Record<string, unknown> & { dist: Record<string, unknown> }

/** What the registry knows of one package: what npm calls a packument. */
type Packument = { name: string; 'dist-tags': Record<string, string>; versions: Record<string, Manifest> }
/** What a client sends to publish: the same for one version, and its tarball in base64. */
type Publication = Packument & { _attachments: Record<string, { data: string }> }
type Answer = { status: number; body: object | Buffer }

export type LocalRegistry = {
  /** `http://127.0.0.1:<port>/` */
  url: string
  /** Writes `npmrc` into `folder`, to be named by NPM_CONFIG_USERCONFIG, and returns its path. */
  npmrc(folder: string): Promise<string>
  /** What was published so far: the manifest of each version of each package. */
  packages(): Record<string, Record<string, Manifest>>
  stop(): Promise<void>
}

export async function startLocalRegistry(): Promise<LocalRegistry> {
  const packuments = new Map<string, Packument>()
  const tarballs = new Map<string, Buffer>()

  const server = createServer((request, response) => {
    void answer(request)
      .catch((error: unknown) => refuse(400, String(error)))
      .then(({ status, body }) => {
        const isTarball = Buffer.isBuffer(body)
        response.writeHead(status, {
          'content-type': isTarball ? 'application/octet-stream' : 'application/json',
        })
        response.end(isTarball ? body : JSON.stringify(body))
      })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the local registry has no port')
  const url = `http://127.0.0.1:${address.port}/`

  async function answer(request: IncomingMessage): Promise<Answer> {
    // Clients write the slash of a scoped name as %2f or %2F.
    const path = decodeURIComponent(new URL(request.url ?? '/', url).pathname).slice(1)
    // A request with another host comes from a client that took this for a proxy (see sealed-environment.ts).
    if (request.headers.host !== new URL(url).host) return refuse(404, 'nothing is fetched from elsewhere')
    if (path === '-/ping') return { status: 200, body: {} }
    if (!path.startsWith(`${scope}/`)) return refuse(404, `only ${scope} is here, not ${path}`)
    if (request.method === 'PUT') return publish(path, JSON.parse(await textOf(request)))
    const found = request.method === 'GET' ? (tarballs.get(path) ?? packuments.get(path)) : undefined
    return found === undefined ? refuse(404, `${path} was not published here`) : { status: 200, body: found }
  }

  function publish(name: string, sent: Publication): Answer {
    const known = packuments.get(name) ?? { name, 'dist-tags': {}, versions: {} }
    for (const version of Object.keys(sent.versions)) {
      if (version in known.versions) return refuse(409, `${name}@${version} is already published`)
    }
    for (const [version, manifest] of Object.entries(sent.versions)) {
      const attachment = sent._attachments[`${name}-${version}.tgz`]
      if (attachment === undefined) return refuse(400, `${name}@${version} came without its tarball`)
      const path = `${name}/-/${name.slice(scope.length + 1)}-${version}.tgz`
      tarballs.set(path, Buffer.from(attachment.data, 'base64'))
      known.versions[version] = { ...manifest, dist: { ...manifest.dist, tarball: url + path } }
    }
    Object.assign(known['dist-tags'], sent['dist-tags'])
    packuments.set(name, known)
    return { status: 201, body: { ok: true } }
  }

  async function stop(): Promise<void> {
    if (!server.listening) return
    server.close()
    server.closeAllConnections()
    await once(server, 'close')
  }

  return {
    url,
    async npmrc(folder) {
      const settings = ['config', 'get', 'registry', 'cafile']
      const outside = await run('npm', settings, { cwd: folder, env: machineEnvironment() })
      const known = outside.split('\n').filter((line) => !line.endsWith('=null'))
      // Clients do not even try to publish without a token; this one opens nothing.
      const token = `${url.slice('http:'.length)}:_authToken=not-a-secret`
      // An audit would send the names of what is installed, ours too, to the outside registry.
      const quiet = ['audit=false', 'fund=false', 'update-notifier=false']
      // By default npm waits five minutes for an answer that does not come, and ten seconds after one that failed: longer than any test.
      const patient = ['fetch-timeout=40000', 'fetch-retries=4', 'fetch-retry-mintimeout=1000']
      const file = join(folder, 'npmrc')
      await writeFile(
        file,
        [...known, ...quiet, ...patient, `${scope}:registry=${url}`, token, ''].join('\n'),
      )
      return file
    },
    packages: () =>
      Object.fromEntries([...packuments].map(([name, { versions }]) => [name, { ...versions }])),
    stop,
  }
}

function refuse(status: number, error: string): Answer {
  return { status, body: { error } }
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { findProgram } from './find-program.ts'
import { run } from './run.ts'
import { temporaryFolder } from './temp-folder.ts'

/** Paths of PEM files. */
export interface TlsFiles {
  /** The certificate of the authority that signed the two others. */
  readonly ca: string
  readonly cert: string
  readonly key: string
}

export interface TestCa {
  readonly server: TlsFiles
  readonly client: TlsFiles
}

let made: Promise<TestCa> | undefined

/** An authority of our own, with a certificate for servers on loopback and one for clients; one per process. */
export function testCa(): Promise<TestCa> {
  made ??= makeCa()
  return made
}

async function makeCa(): Promise<TestCa> {
  const { path: openssl } = await findProgram('openssl')
  const { path: folder } = temporaryFolder('tls')
  const file = (name: string) => join(folder, name)
  const call = (...args: string[]) =>
    run(openssl, args, { env: { PATH: process.env['PATH'] }, timeoutMs: 20_000 })
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  const validity = ['-days', '30']

  const signed = async (name: string, commonName: string, extensions: string): Promise<TlsFiles> => {
    writeFileSync(file(`${name}.ext`), `basicConstraints=CA:FALSE\n${extensions}\n`)
    const request = [
      '-subj',
      `/CN=${commonName}`,
      '-keyout',
      file(`${name}.key`),
      '-out',
      file(`${name}.csr`),
    ]
    await call('req', '-new', ...newKey, ...request)
    const authority = ['-CA', file('ca.crt'), '-CAkey', file('ca.key'), '-CAcreateserial', ...validity]
    const files = ['-in', file(`${name}.csr`), '-extfile', file(`${name}.ext`), '-out', file(`${name}.crt`)]
    await call('x509', '-req', ...authority, ...files)
    return { ca: file('ca.crt'), cert: file(`${name}.crt`), key: file(`${name}.key`) }
  }

  const authority = ['-subj', '/CN=testbed CA', '-keyout', file('ca.key'), '-out', file('ca.crt')]
  await call('req', '-x509', ...newKey, ...validity, ...authority)
  // Servers are each other's clients too: replicas, Sentinels, nodes of a Cluster.
  const serverUse = 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth'
  const server = await signed('server', 'localhost', serverUse)
  const client = await signed('client', 'testbed client', 'extendedKeyUsage=clientAuth')
  return { server, client }
}

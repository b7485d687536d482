import { join } from 'node:path'
import { type Host, lookOnPath, type Program } from './host.ts'
import { run } from './run.ts'
import { temporaryFolder } from './temp-folder.ts'

/**
 * Copies the server's binary out of its official image, so that signals reach a real local process.
 * Tried only with a stand-in for `docker`: no machine of this project has had an engine so far.
 */
export async function findByDocker({ command, docker: source }: Program, host: Host): Promise<string> {
  if (!source) throw new Error('no official image has it as one file')
  const client = lookOnPath('docker', host)
  if (!client) throw new Error('no docker on PATH')
  const docker = (timeoutMs: number, ...args: string[]) => run(client, args, { env: host.env, timeoutMs })
  await docker(5_000, 'version', '--format', '{{.Server.Version}}')
  host.announce(`${command} is missing: copying it out of Docker's ${source.image}`)
  const path = join(temporaryFolder('docker').path, command)
  const container = await docker(180_000, 'create', source.image)
  try {
    await docker(60_000, 'cp', `${container}:${source.path}`, path)
  } finally {
    await docker(30_000, 'rm', '--force', container)
  }
  // The image's binary may not run here: another C library, or not Linux.
  await run(path, ['--version'], { env: host.env, timeoutMs: 5_000 })
  return path
}

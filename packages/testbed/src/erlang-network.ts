import { randomBytes } from 'node:crypto'
import { claimPort } from './ports.ts'
import { startProcess } from './process.ts'
import { type RabbitmqPrograms, rabbitmqPrograms } from './rabbitmq-programs.ts'

/** What Erlang nodes need to find and trust one another. */
export interface ErlangNetwork extends AsyncDisposable {
  readonly programs: RabbitmqPrograms
  readonly cookie: string
  /** For a node, and for whoever talks to one. */
  readonly env: NodeJS.ProcessEnv
}

/** With an epmd of its own; else the first node starts one as a daemon on the system's port, which outlives it. */
export async function startErlangNetwork(): Promise<ErlangNetwork> {
  const programs = await rabbitmqPrograms()
  await using resources = new AsyncDisposableStack()
  const { port } = resources.adopt(await claimPort(), ({ release }) => release())
  const env = {
    PATH: process.env['PATH'],
    LANG: 'C.UTF-8',
    ERL_EPMD_PORT: String(port),
    ERL_EPMD_ADDRESS: '127.0.0.1',
  }
  const epmd = await startProcess(programs.epmd, [], { env, stdio: 'ignore' })
  resources.defer(async () => {
    if (epmd.alive) await epmd.kill('SIGKILL')
  })
  const owned = resources.move()
  return {
    programs,
    cookie: randomBytes(12).toString('hex').toUpperCase(),
    env,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

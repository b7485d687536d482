import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { claimPort } from './ports.ts'
import { startProcess } from './process.ts'
import { type RabbitmqPrograms, rabbitmqPrograms } from './rabbitmq-programs.ts'
import { waitUntil } from './wait-until.ts'

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
  // Else a node that is sooner starts that daemon after all.
  await waitUntil('epmd to listen', () => isListening(port))
  const owned = resources.move()
  return {
    programs,
    cookie: randomBytes(12).toString('hex').toUpperCase(),
    env,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

async function isListening(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } finally {
    socket.destroy()
  }
}

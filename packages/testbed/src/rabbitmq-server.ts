import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ErlangNetwork } from './erlang-network.ts'
import { binary, ErlangNode } from './erlang-node.ts'
import { claimPort } from './ports.ts'
import { type Exit, type LocalProcess, startProcess } from './process.ts'
import { type ProcessState, processState } from './process-state.ts'
import { definitions, guest, normalWatermark, rabbitmqConfig, type RabbitmqUser } from './rabbitmq-config.ts'
import { rabbitmqHome } from './rabbitmq-home.ts'
import { credentials } from './redis-server.ts'
import { temporaryFolder } from './temp-folder.ts'
import { testCa, type TlsFiles } from './test-ca.ts'
import { waitUntil } from './wait-until.ts'

// Of a machine under load, whose host is crowded as well; idle, it boots in 4 s and ends in one.
const bootDeadlineMs = 120_000
/** Each question starts a process, which must not slow down what it asks about. */
export const askEveryMs = 250
const endDeadlineMs = 30_000

export interface RabbitmqOptions {
  /** Only TLS, with a certificate of our own authority; `mutual`: clients need one of it as well. */
  readonly tls?: 'server' | 'mutual'
  /** Besides guest, who may do everything; with their virtual hosts. */
  readonly users?: readonly RabbitmqUser[]
  /** More lines of rabbitmq.conf, such as `'channel_max = 10'`. */
  readonly config?: readonly string[]
  /** The text of advanced.config, for what rabbitmq.conf has no words for. */
  readonly advancedConfig?: string
  /** To be enabled, such as `'rabbitmq_management'`. Default none: each costs time at the start. */
  readonly plugins?: readonly string[]
}

export interface RabbitmqQueue {
  readonly name: string
  readonly type: 'classic' | 'quorum' | 'stream'
  readonly messages: number
  readonly consumers: number
}

/** A node of that network; it disposes of `resources` in the end. Resolves when it takes connections. */
export async function startRabbitmqServer(
  network: ErlangNetwork,
  shortName: string,
  options: RabbitmqOptions,
  resources: AsyncDisposableStack = new AsyncDisposableStack(),
): Promise<RabbitmqServer> {
  const server = await prepare(network, shortName, options, resources)
  try {
    await server.restart()
    return server
  } catch (error) {
    await server.stop()
    throw error
  }
}

async function prepare(
  network: ErlangNetwork,
  shortName: string,
  options: RabbitmqOptions,
  resources: AsyncDisposableStack,
): Promise<RabbitmqServer> {
  await using owned = resources
  const certificates = options.tls && (await testCa())
  const { port } = owned.adopt(await claimPort(), ({ release }) => release())
  const { port: distributionPort } = owned.adopt(await claimPort(), ({ release }) => release())
  const { server: binaryPath } = network.programs
  const { path: folder } = owned.adopt(temporaryFolder('rabbitmq'), ({ remove }) => remove())
  const file = (name: string) => join(folder, name)

  const definitionsFile = file('definitions.json')
  const { tls: mode, users = [], config: lines = [], advancedConfig, plugins = [] } = options
  const tls = certificates && { certificates, mutual: mode === 'mutual' }
  writeFileSync(definitionsFile, definitions(users))
  writeFileSync(file('rabbitmq.conf'), rabbitmqConfig({ port, tls, definitionsFile, lines }))
  if (advancedConfig !== undefined) writeFileSync(file('advanced.config'), advancedConfig)
  writeFileSync(file('enabled_plugins'), `[${plugins.join()}].\n`)
  writeFileSync(file('rabbitmq-env.conf'), rabbitmqHome(binaryPath, file('programs'), plugins))

  const name = `${shortName}@localhost`
  const node = new ErlangNode(network, name, file('home'), {
    // The script then becomes the server, instead of staying its parent: signals reach it.
    RUNNING_UNDER_SYSTEMD: 'true',
    RABBITMQ_NODENAME: name,
    RABBITMQ_DIST_PORT: String(distributionPort),
    // Where rabbitmqctl listens while it runs; by default only ten may run at once on a machine.
    RABBITMQ_CTL_DIST_PORT_MIN: '35672',
    RABBITMQ_CTL_DIST_PORT_MAX: '36671',
    // Nothing of the system's own: every one of these has a default outside.
    RABBITMQ_BASE: folder,
    RABBITMQ_MNESIA_BASE: file('db'),
    RABBITMQ_LOG_BASE: file('log'),
    RABBITMQ_CONFIG_FILE: file('rabbitmq.conf'),
    RABBITMQ_CONFIG_FILES: file('conf.d'),
    RABBITMQ_ADVANCED_CONFIG_FILE: file('advanced.config'),
    RABBITMQ_CONF_ENV_FILE: file('rabbitmq-env.conf'),
    RABBITMQ_ENABLED_PLUGINS_FILE: file('enabled_plugins'),
    RABBITMQ_GENERATED_CONFIG_DIR: file('generated'),
    RABBITMQ_PID_FILE: file('pid'),
    // No dump of a crashed machine: writing it takes a second of the failing test.
    ERL_CRASH_DUMP_SECONDS: '0',
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: [
      // One scheduler: several nodes share few cores.
      '+S 1:1',
      '-kernel inet_dist_use_interface {127,0,0,1}',
    ].join(' '),
  })
  return new RabbitmqServer(
    { binaryPath, node, port, folder, options, tls: certificates?.client },
    owned.move(),
  )
}

interface Prepared {
  readonly binaryPath: string
  readonly node: ErlangNode
  readonly port: number
  readonly folder: string
  readonly options: RabbitmqOptions
  readonly tls: TlsFiles | undefined
}

export class RabbitmqServer {
  readonly port: number
  /** `amqp://`, with TLS `amqps://`, as guest in the virtual host `/`. */
  readonly url: string
  /** For a client of a server with TLS: the authority's certificate, and a certificate with its key. */
  readonly tls: TlsFiles | undefined
  /** Data and logs; gone after stop(). */
  readonly folder: string
  /** Its name among Erlang nodes, such as `rabbit1@localhost`. */
  readonly name: string
  readonly #prepared: Prepared
  readonly #resources: AsyncDisposableStack
  readonly #bootLog: string
  #process: LocalProcess | undefined

  constructor(prepared: Prepared, resources: AsyncDisposableStack) {
    const { port, tls, folder, node } = prepared
    this.port = port
    this.tls = tls
    this.folder = folder
    this.name = node.name
    this.url = this.#urlWith('guest', 'guest', '/')
    this.#bootLog = join(folder, 'boot.log')
    this.#prepared = prepared
    this.#resources = resources
  }

  /** The url of guest or one of `users`, in a virtual host. */
  urlOf(name: string, vhost = '/'): string {
    const users = [guest, ...(this.#prepared.options.users ?? [])]
    const user = users.find((each) => each.name === name)
    if (!user) throw new Error(`${this.#what} was started without a user ${name}`)
    return this.#urlWith(user.name, user.password, vhost)
  }

  /** Of its process; `stopped` while it is paused. */
  get state(): ProcessState {
    return this.#process?.alive ? processState(this.#process.pid) : 'gone'
  }

  /** Of the running process; changes with restart(). */
  get pid(): number {
    return this.#running.pid
  }

  /** Sends the signal and waits for the end. SIGKILL is a crash: what was confirmed as durable survives it. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<Exit> {
    return await this.#running.kill(signal, endDeadlineMs)
  }

  /** SIGSTOP: connections stay open, and nothing answers. */
  async pause(): Promise<void> {
    await this.#running.pause()
  }

  /** SIGCONT: what was sent meanwhile is answered now. */
  resume(): void {
    this.#running.resume()
  }

  /** Ends it cleanly unless it is down already, and starts it on the same port and folder. */
  async restart(): Promise<void> {
    if (this.#process?.alive) {
      this.#process.resume()
      await this.#process.kill('SIGTERM', endDeadlineMs)
    }
    this.#process = await this.#spawn()
    await this.#untilReady(this.#process)
  }

  /** `rabbitmqctl -q`; it starts an Erlang of its own, so that each call costs a second of CPU. */
  async ctl(...args: readonly string[]): Promise<string> {
    return await this.#prepared.node.ctl(...args)
  }

  /** The value of an Erlang expression in the server, which must be one that JSON can say; a few ms. Allowed: 10 s. */
  async evaluate(expression: string, timeoutMs?: number): Promise<unknown> {
    return await this.#prepared.node.evaluate(expression, timeoutMs)
  }

  /** As when memory runs short: connections that publish are `blocked`; with false they are `unblocked`. */
  async memoryAlarm(on: boolean): Promise<void> {
    await this.evaluate(`vm_memory_monitor:set_vm_memory_high_watermark(${on ? '0' : normalWatermark})`)
    const alarms = 'length(rabbit_alarm:get_local_alarms())'
    await waitUntil(`${this.#what} to ${on ? 'raise' : 'clear'} its alarm`, async () => {
      return ((await this.evaluate(alarms)) !== 0) === on
    })
  }

  /** Closes all connections of its clients (320 CONNECTION_FORCED), and says how many these were. */
  async closeConnections(): Promise<number> {
    const close = `Pids = rabbit_networking:connections_local(),
      ok = rabbit_networking:close_connections(Pids, ${binary('closed by the test')}), length(Pids)`
    return Number(await this.evaluate(close))
  }

  /** The queues of a virtual host. A stream's and a quorum queue's messages are counted every few seconds. */
  async queues(vhost = '/'): Promise<RabbitmqQueue[]> {
    const list = `[#{name => element(4, proplists:get_value(name, Q)), type => proplists:get_value(type, Q),
        messages => proplists:get_value(messages, Q), consumers => proplists:get_value(consumers, Q)}
      || Q <- rabbit_amqqueue:info_all(${binary(vhost)}, [name, type, messages, consumers])]`
    return parseQueues(await this.evaluate(list))
  }

  /** Deletes a queue with its messages; its consumers are cancelled. */
  async deleteQueue(name: string, vhost = '/'): Promise<void> {
    await this.evaluate(`{ok, Q} = ${lookup(name, vhost)},
      {ok, _} = rabbit_amqqueue:delete(Q, false, false, ${binary('testbed')}), true`)
  }

  /** Ends it and removes its data. May be called twice. */
  async stop(): Promise<void> {
    // Its data goes anyway, and SIGTERM takes a second.
    if (this.#process?.alive) await this.#process.kill('SIGKILL')
    await this.#resources.disposeAsync()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  get #running(): LocalProcess {
    if (!this.#process?.alive) throw new Error(`${this.#what} is down; restart() it first`)
    return this.#process
  }

  get #what(): string {
    return `rabbitmq-server on port ${this.port}`
  }

  #urlWith(user: string, password: string, vhost: string): string {
    const scheme = this.tls ? 'amqps' : 'amqp'
    const path = vhost === '/' ? '' : `/${encodeURIComponent(vhost)}`
    return `${scheme}://${credentials(user, password)}127.0.0.1:${this.port}${path}`
  }

  async #spawn(): Promise<LocalProcess> {
    const { binaryPath, node } = this.#prepared
    const log = openSync(this.#bootLog, 'w')
    try {
      return await startProcess(binaryPath, [], {
        cwd: this.folder,
        env: node.env,
        stdio: ['ignore', log, log],
      })
    } finally {
      closeSync(log)
    }
  }

  async #untilReady(started: LocalProcess): Promise<void> {
    try {
      // Not a mere connection: the listeners are up a moment before the server is.
      const probe = async () => !started.alive || (await this.evaluate('rabbit:is_booted()')) === true
      await waitUntil('the end of its boot', probe, { deadlineMs: bootDeadlineMs, everyMs: askEveryMs })
      if (!started.alive) throw new Error(`it ended with ${JSON.stringify(await started.exited)}`)
    } catch (error) {
      // What is wrong comes first; reports of what crashed for that reason follow.
      const log = readFileSync(this.#bootLog, 'utf8')
      const reason = log.slice(Math.max(log.indexOf('[error]'), 0)).slice(0, 1500)
      throw new Error(`${this.#what} did not come up; its output:\n${reason}`, { cause: error })
    }
  }
}

/** The queue's record, as `{ok, Q}`. */
export function lookup(queue: string, vhost: string): string {
  return `rabbit_amqqueue:lookup(rabbit_misc:r(${binary(vhost)}, queue, ${binary(queue)}))`
}

function parseQueues(list: unknown): RabbitmqQueue[] {
  if (!Array.isArray(list)) throw new TypeError(`not a list of queues: ${JSON.stringify(list)}`)
  return list.map(({ name, type, messages, consumers }: Record<string, unknown>) => ({
    name: String(name),
    type: parseType(String(type)),
    messages: Number(messages),
    consumers: Number(consumers),
  }))
}

/** Named by the module that implements it: `rabbit_classic_queue`. */
function parseType(module: string): RabbitmqQueue['type'] {
  if (module.includes('stream')) return 'stream'
  return module.includes('quorum') ? 'quorum' : 'classic'
}

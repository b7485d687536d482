import { connect } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { MultinodeError, type PluginContext } from '@multinode/core'
import { Redis } from 'ioredis'
import { closeMs } from './create-client.ts'
import { formatTarget, type RedisEndpoint, type RedisTarget } from './redis-target.ts'
import type { RedisConnection } from './redis-connection.ts'
import { isFatalForConnect, toRedisError } from './redis-errors.ts'

/** What one of the servers that the address names says: that all is well, or why it will never be. */
type Verdict = 'well' | 'silent' | Error

/**
 * Asks Sentinels and Cluster nodes themselves, because ioredis asks for ever what will never be answered, and says of a Cluster not
 * why. Resolves when one of them finds all well, or when none of them answers: that may pass.
 * @throws `MISCONFIGURED` when none finds all well, and one says why
 */
export async function checkTopology(
  target: RedisTarget,
  source: string,
  context: PluginContext,
): Promise<void> {
  const judge = target.mode === 'sentinel' ? judgeSentinel : judgeClusterNode
  const verdicts = target.endpoints.map((endpoint) => judge(endpoint, target, source, context))
  const reasons = await Promise.all(verdicts)
  if (reasons.includes('well')) return
  const refusal = reasons.find((reason) => reason instanceof Error)
  if (refusal !== undefined) throw refusal
}

/**
 * A node of a Cluster answers a plain client too, until it is asked for a key of another node.
 * @throws `MISCONFIGURED` when the server is one
 */
export async function checkIsNoClusterNode(
  connection: RedisConnection,
  source: string,
  context: PluginContext,
): Promise<void> {
  const info = await connection.command('INFO', ['server'], context.callTimeoutMs)
  if (!isClusterNode(info)) return
  throw new MultinodeError(
    'MISCONFIGURED',
    `Redis at ${connection.address} (${source}) is a node of a Cluster: write redis+cluster://host:port,host:port instead.`,
    { backend: 'redis', details: { source } },
  )
}

/**
 * A server without TLS takes the greeting of TLS for the beginning of a command, and waits for the rest. And the reason why one with TLS
 * refuses a client is lost behind a reset when the client has sent a command already. So when no connection has come about, those that
 * the address names are greeted without TLS, and with TLS and nothing else.
 * @throws `MISCONFIGURED` when one answers, or says why it refuses
 */
export async function checkTls(
  target: RedisTarget,
  source: string,
  context: PluginContext,
  isReady: () => boolean,
): Promise<void> {
  const waitMs = Math.min(500, context.connectTimeoutMs / 6)
  await new Promise<void>((resolve) => context.clock.setTimer(resolve, waitMs, 'background'))
  if (isReady() || context.signal.aborted) return
  const [answers, refusals] = await Promise.all([
    Promise.all(target.endpoints.map((endpoint) => answersPlainly(endpoint, waitMs))),
    // Settings with which nothing can be begun are the client's to tell.
    Promise.all(
      target.endpoints.map((endpoint) => tlsRefusal(endpoint, target, waitMs).catch(() => undefined)),
    ),
  ])
  if (isReady()) return
  const refusal = refusals.find((error) => error !== undefined && isFatalForConnect(error))
  if (refusal !== undefined) {
    throw toRedisError(refusal, {
      address: formatTarget(target),
      operation: `connecting (${source})`,
      outcome: 'not-sent',
    })
  }
  if (!answers.includes(true)) return
  throw new MultinodeError(
    'MISCONFIGURED',
    `Redis at ${formatTarget(target)} (${source}) speaks no TLS there: write redis instead of rediss, or name its TLS port.`,
    { backend: 'redis', details: { source } },
  )
}

/** Whether the server answers a PING in its own protocol, be it with a refusal. */
async function answersPlainly({ host, port }: RedisEndpoint, patienceMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: patienceMs })
    const end = (answers: boolean): void => {
      resolve(answers)
      socket.destroy()
    }
    socket.once('data', (data) => end(/^[+-][A-Z]/.test(data.toString('latin1'))))
    for (const event of ['timeout', 'error', 'close']) socket.once(event, () => end(false))
    socket.write('PING\r\n')
  })
}

/** Why the server ends a connection with TLS on which nothing is sent; undefined when it does not within this time. */
async function tlsRefusal(
  { host, port }: RedisEndpoint,
  { tls }: RedisTarget,
  patienceMs: number,
): Promise<Error | undefined> {
  return new Promise((resolve) => {
    const socket = connectTls({ ...tls, host, port, timeout: patienceMs })
    const end = (error?: Error): void => {
      resolve(error)
      socket.destroy()
    }
    socket.on('error', end)
    for (const event of ['timeout', 'close']) socket.once(event, () => end())
  })
}

async function judgeSentinel(
  endpoint: RedisEndpoint,
  target: RedisTarget,
  source: string,
  context: PluginContext,
): Promise<Verdict> {
  const { sentinelUsername: username, sentinelPassword: password, masterName = '' } = target
  const asked = { ...target, username, password }
  const answer = await ask(endpoint, asked, ['SENTINEL', 'MASTERS'], source, context)
  if (answer instanceof Error || answer === undefined) return answer ?? 'silent'
  const known = namesIn(answer)
  if (known.includes(masterName)) return 'well'
  return new MultinodeError(
    'MISCONFIGURED',
    `The Sentinel at ${endpoint.host}:${endpoint.port} (${source}) watches no master ${JSON.stringify(masterName)}; ` +
      `it watches ${known.join(', ') || 'none'}. Put that name behind the hosts of the address.`,
    { backend: 'redis', details: { source, masterName } },
  )
}

async function judgeClusterNode(
  endpoint: RedisEndpoint,
  target: RedisTarget,
  source: string,
  context: PluginContext,
): Promise<Verdict> {
  const answer = await ask(endpoint, target, ['INFO', 'server'], source, context)
  if (answer instanceof Error || answer === undefined) return answer ?? 'silent'
  if (isClusterNode(answer)) return 'well'
  return new MultinodeError(
    'MISCONFIGURED',
    `Redis at ${endpoint.host}:${endpoint.port} (${source}) is a single server: write redis:// instead of redis+cluster://.`,
    { backend: 'redis', details: { source } },
  )
}

/** One command to one server: its answer, why there will never be one, or nothing when that may pass. */
async function ask(
  endpoint: RedisEndpoint,
  target: RedisTarget,
  [command, argument]: readonly [string, string],
  source: string,
  context: PluginContext,
): Promise<unknown> {
  const { username, password, tls } = target
  const patienceMs = Math.min(1_000, context.connectTimeoutMs / 3)
  const client = new Redis({
    ...endpoint,
    ...(username === undefined ? {} : { username }),
    ...(typeof password === 'string' ? { password } : {}),
    ...(tls === undefined ? {} : { tls: { ...tls } }),
    lazyConnect: true,
    enableReadyCheck: false,
    connectTimeout: patienceMs,
    commandTimeout: patienceMs,
    disconnectTimeout: closeMs,
    retryStrategy: () => null,
  })
  let fatal: Error | undefined
  const note = (error: unknown): void => {
    if (!(error instanceof Error) || !isFatalForConnect(error)) return
    const address = formatTarget({ ...target, endpoints: [endpoint] })
    fatal ??= toRedisError(error, { address, operation: `connecting (${source})`, outcome: 'not-sent' })
  }
  client.on('error', note)
  try {
    await client.connect()
    return await client.call(command, argument)
  } catch (error) {
    note(error)
    return fatal
  } finally {
    client.disconnect()
  }
}

function isClusterNode(info: unknown): boolean {
  // Valkey calls it server_mode.
  return /^(redis|server)_mode:cluster\b/m.test(String(info))
}

/** Each master is a list of names and values, or a map with RESP3. */
function namesIn(masters: unknown): string[] {
  if (!Array.isArray(masters)) return []
  return masters.flatMap((master: unknown) => {
    if (Array.isArray(master)) return [String(master[master.indexOf('name') + 1])]
    return master instanceof Object && 'name' in master ? [String(master.name)] : []
  })
}

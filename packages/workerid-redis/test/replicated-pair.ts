import { type RedisServer, startRedis, type TcpProxy, tcpProxy, waitUntil } from '@multinode/testbed'

/** A master and its replica, with a link between them that can be cut or slowed. Nobody watches them: the test promotes. */
export interface ReplicatedPair extends AsyncDisposable {
  readonly master: RedisServer
  readonly replica: RedisServer
  readonly link: TcpProxy
}

export async function startPair(): Promise<ReplicatedPair> {
  await using started = new AsyncDisposableStack()
  const master = started.use(await startServer())
  const replica = started.use(await startServer())
  const link = started.use(await tcpProxy(master.port))
  await follow(replica, master, link)
  const stack = started.move()
  return { master, replica, link, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

/** Without its wait of 5 s for more replicas before it sends its data. */
export function startServer(): Promise<RedisServer> {
  return startRedis({ args: ['--repl-diskless-sync-delay', '0'] })
}

/** Resolves when the replica has all that the master has. */
export async function follow(replica: RedisServer, master: RedisServer, link: TcpProxy): Promise<void> {
  await replica.cli('REPLICAOF', '127.0.0.1', String(link.port))
  await inStep(master)
}

/** Resolves when a write that follows is on the replica, and so all before it. */
export async function inStep(master: RedisServer): Promise<void> {
  await waitUntil('the replica to be in step', async () => {
    const reply = await master.cli('EVAL', "redis.call('SET', KEYS[1], 1) return 1", '1', 'in step')
    return reply === 1 && (await master.cli('WAIT', '1', '1000')) === 1
  })
}

/** The master is gone for good, and the replica takes its place with what it has. */
export async function failOver({
  master,
  replica,
}: Pick<ReplicatedPair, 'master' | 'replica'>): Promise<void> {
  await master.kill()
  await replica.cli('REPLICAOF', 'NO', 'ONE')
}

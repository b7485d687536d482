import { type ErlangNetwork, startErlangNetwork } from './erlang-network.ts'
import {
  askEveryMs,
  lookup,
  type RabbitmqOptions,
  type RabbitmqServer,
  startRabbitmqServer,
} from './rabbitmq-server.ts'
import type { TlsFiles } from './test-ca.ts'
import { waitUntil } from './wait-until.ts'

const shortNames = ['rabbit1', 'rabbit2', 'rabbit3']

/** Three nodes that form one cluster; resolves when each of them sees all. */
export async function startRabbitmqCluster(options: RabbitmqOptions): Promise<RabbitmqCluster> {
  await using started = new AsyncDisposableStack()
  const network = started.use(await startErlangNetwork())
  const nodes: RabbitmqServer[] = []
  // One after the other: each boot keeps a core busy for seconds, and on a busy machine three at once would all be late.
  for (const name of shortNames) nodes.push(started.use(await startRabbitmqServer(network, name, options)))
  const [first, ...others] = nodes
  // One after the other: no race to reason about.
  for (const node of others) await join(node, first)
  const cluster = new RabbitmqCluster(nodes, network, started.move())
  try {
    await cluster.ready()
    return cluster
  } catch (error) {
    await cluster.stop()
    throw error
  }
}

async function join(node: RabbitmqServer, to: RabbitmqServer | undefined): Promise<void> {
  if (!to) return
  // As `rabbitmqctl join_cluster` does it, which has another module to call since RabbitMQ 3.12.
  await node.evaluate(
    `ok = rabbit:stop(),
    ok = case code:ensure_loaded(rabbit_db_cluster) of
      {module, _} -> rabbit_db_cluster:join('${to.name}', disc);
      _ -> rabbit_mnesia:join_cluster('${to.name}', disc)
    end,
    rabbit:start()`,
    60_000,
  )
}

export class RabbitmqCluster {
  readonly nodes: readonly RabbitmqServer[]
  readonly urls: readonly string[]
  /** For clients, with TLS. */
  readonly tls: TlsFiles | undefined
  readonly #network: ErlangNetwork
  readonly #started: AsyncDisposableStack

  constructor(nodes: readonly RabbitmqServer[], network: ErlangNetwork, started: AsyncDisposableStack) {
    this.nodes = nodes
    this.urls = nodes.map(({ url }) => url)
    this.tls = nodes[0]?.tls
    this.#network = network
    this.#started = started
  }

  /** Waits until every node is up and sees all. */
  async ready(): Promise<void> {
    const all = this.nodes.map(({ name }) => name).join()
    await waitUntil(
      'every node to see all',
      async () => {
        const views = await Promise.all(this.nodes.map(viewOf))
        return views.every((view) => view === all)
      },
      { deadlineMs: 60_000, everyMs: askEveryMs },
    )
  }

  /** The running node that leads a quorum queue or stream, by what all running nodes say. */
  async leaderOf(queue: string, vhost = '/'): Promise<RabbitmqServer> {
    // The queue's record names the old leader until another one leads: it counts only while it is connected.
    const leader = `{ok, Q} = ${lookup(queue, vhost)},
      Leader = case amqqueue:get_pid(Q) of {_, Node} -> Node; Pid -> node(Pid) end,
      case lists:member(Leader, [node() | nodes()]) of true -> Leader; false -> none end`
    return await waitUntil(
      `the nodes to name the same running leader of ${queue}`,
      async () => {
        const answers = await Promise.all(this.#running().map((node) => answerOf(node, leader)))
        const given = answers.filter(({ answer }) => answer !== undefined)
        const names = new Set(given.map(({ answer }) => answer))
        return names.size === 1 ? given.find(({ node }) => names.has(node.name))?.node : undefined
      },
      { deadlineMs: 30_000 },
    )
  }

  /** SIGKILL of the leader; returns the dead server. Another leads within a second or two. */
  async killLeader(queue: string, vhost = '/'): Promise<RabbitmqServer> {
    const leader = await this.leaderOf(queue, vhost)
    await leader.kill()
    return leader
  }

  /**
   * Cuts a node off from the others, as a firewall does that resets: their connections end at once, and none
   * comes up before `reunite` (or a restart of the node). Clients still reach every node. Under
   * `pause_minority`, the default here, the node alone closes its clients' connections and its port.
   */
  async isolate(node: RabbitmqServer): Promise<void> {
    await this.#trust(node, 'cut')
  }

  /** Undoes `isolate`; resolves when every node sees all again, a paused one after some seconds. */
  async reunite(node: RabbitmqServer): Promise<void> {
    await this.#trust(node, this.#network.cookie)
    await this.ready()
  }

  /** Ends all and removes their data. May be called twice. */
  async stop(): Promise<void> {
    await this.#started.disposeAsync()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  #running(): RabbitmqServer[] {
    return this.nodes.filter(({ state }) => state === 'running')
  }

  /** Erlang nodes with different cookies for one another refuse each other, whoever calls. */
  async #trust(node: RabbitmqServer, cookie: string): Promise<void> {
    const others = this.nodes.filter((each) => each !== node).map(({ name }) => `'${name}'`)
    await node.evaluate(`[begin erlang:set_cookie(Other, '${cookie}'), erlang:disconnect_node(Other) end
      || Other <- [${others.join()}]]`)
  }
}

/** The running nodes as a booted node sees them: a node is running before it has opened its port. */
async function viewOf(node: RabbitmqServer): Promise<string> {
  return String(
    await node.evaluate(
      '[Node || true <- [rabbit:is_booted()], Node <- lists:sort(rabbit_nodes:all_running())]',
    ),
  )
}

/** Undefined of a node that is cut off, starting or stopping. */
async function answerOf(
  node: RabbitmqServer,
  question: string,
): Promise<{ node: RabbitmqServer; answer: unknown }> {
  try {
    return { node, answer: await node.evaluate(question) }
  } catch {
    return { node, answer: undefined }
  }
}

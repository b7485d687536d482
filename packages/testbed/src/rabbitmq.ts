import { startErlangNetwork } from './erlang-network.ts'
import { type RabbitmqCluster, startRabbitmqCluster } from './rabbitmq-cluster.ts'
import { type RabbitmqOptions, type RabbitmqServer, startRabbitmqServer } from './rabbitmq-server.ts'

/** A RabbitMQ of our own on a free loopback port, with temporary data; resolves when it takes connections. */
export async function startRabbitmq(options?: RabbitmqOptions & { nodes?: 1 }): Promise<RabbitmqServer>
/** Three of them that form one cluster. */
export async function startRabbitmq(options: RabbitmqOptions & { nodes: 3 }): Promise<RabbitmqCluster>
export async function startRabbitmq({ nodes, ...options }: RabbitmqOptions & { nodes?: 1 | 3 } = {}): Promise<
  RabbitmqServer | RabbitmqCluster
> {
  return await (nodes === 3 ? startRabbitmqCluster(options) : startAlone(options))
}

async function startAlone(options: RabbitmqOptions): Promise<RabbitmqServer> {
  await using resources = new AsyncDisposableStack()
  const network = resources.use(await startErlangNetwork())
  return await startRabbitmqServer(network, 'rabbit1', options, resources.move())
}

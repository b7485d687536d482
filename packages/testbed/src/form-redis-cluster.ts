import type { RedisServer } from './redis-server.ts'
import { waitUntil } from './wait-until.ts'

const slotCount = 16_384

/** Makes one cluster of empty nodes: the slots over the masters, the replicas over them in turn. */
export async function formRedisCluster(
  masters: readonly RedisServer[],
  replicas: readonly RedisServer[],
): Promise<void> {
  const nodes = [...masters, ...replicas]
  // Before they meet: equal epochs would first have to be told apart.
  await Promise.all(nodes.map((node, index) => node.cli('CLUSTER', 'SET-CONFIG-EPOCH', String(index + 1))))
  await Promise.all(masters.map((master, index) => addSlots(master, index, masters.length)))
  const [first, ...others] = nodes
  for (const other of others) await first?.cli('CLUSTER', 'MEET', '127.0.0.1', String(other.port))
  const ids = await Promise.all(masters.map(async (master) => String(await master.cli('CLUSTER', 'MYID'))))
  await Promise.all(replicas.map((replica, index) => follow(replica, ids[index % ids.length] ?? '')))
}

async function addSlots(master: RedisServer, index: number, count: number): Promise<void> {
  const from = Math.floor((slotCount * index) / count)
  const to = Math.floor((slotCount * (index + 1)) / count)
  // One by one: Redis 6 knows no ranges.
  const slots = Array.from({ length: to - from }, (_, offset) => String(from + offset))
  await master.cli('CLUSTER', 'ADDSLOTS', ...slots)
}

async function follow(replica: RedisServer, masterId: string): Promise<void> {
  // It is an unknown node until the others have spoken of it.
  const probe = async () => (await replica.cli('CLUSTER', 'REPLICATE', masterId)) === 'OK'
  await waitUntil(`the replica on port ${replica.port} to know its master`, probe)
}

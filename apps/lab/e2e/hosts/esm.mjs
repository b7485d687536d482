// A host app as an ES module: one section under a lock, which prints the fencing token that it got.
import { createCluster } from '@multinode/core'

const cluster = await createCluster()
const token = await cluster.locks.run('invoice:42', async (lease) => lease.token)
await cluster.close()
process.stdout.write(JSON.stringify({ node: process.version, token }))

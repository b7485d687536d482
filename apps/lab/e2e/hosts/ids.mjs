// A host app that makes ids from a worker id: prints where that came from, and an id taken apart.
import { createCluster } from '@multinode/core'
import { createSnowflake } from '@multinode/snowflake-id'

const cluster = await createCluster()
const worker = await cluster.workerIds.acquire({ isFirstStart: true })
const ids = createSnowflake({ worker, layout: 'js53' })
const decoded = ids.decode(ids.generate())
const { backend } = cluster.describe().capabilities.find(({ capability }) => capability === 'workerid')
await cluster.close()
process.stdout.write(JSON.stringify({ backend, worker: worker.id, decoded }))

import { createCluster } from '@multinode/core'
import { createSnowflake } from '@multinode/snowflake-id'

await using cluster = await createCluster()
await using worker = await cluster.workerIds.acquire({ isFirstStart: true })
const ids = createSnowflake({ worker, layout: 'js53' })
const { backend } = cluster.describe().capabilities.find(({ capability }) => capability === 'workerid')
console.log(JSON.stringify({ backend, worker: worker.id, decoded: ids.decode(ids.generate()) }))

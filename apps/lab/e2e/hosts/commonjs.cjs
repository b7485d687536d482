// The same host app as CommonJS: `require` of our ES modules, as Node 22.12 and later can.
const { createCluster } = require('@multinode/core')

async function main() {
  const cluster = await createCluster()
  const token = await cluster.locks.run('invoice:42', async (lease) => lease.token)
  await cluster.close()
  process.stdout.write(JSON.stringify({ node: process.version, token }))
}

void main()

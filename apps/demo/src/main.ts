import { createCluster } from '@multinode/core'
import { readConfiguration } from './configuration.ts'
import { buildServer, closeServer, listen } from './http/server.ts'
import { Shop } from './shop.ts'
import { startReport } from './start-report.ts'

/** Less than the library's default, so that `npm start` as a whole reports an unreachable server within 10 s. */
const connectTimeoutMs = 8_000
/** Together below the 10 s that a container is given to stop. */
const closeServerMs = 2_000
const drainMs = 5_000

try {
  await start()
} catch (error) {
  report(`The print shop could not start. ${inWords(error)}`)
  process.exit(1)
}

async function start(): Promise<void> {
  const { host, port, ...configuration } = readConfiguration(process.env)
  await using opened = new AsyncDisposableStack()
  const cluster = opened.use(await createCluster({ resolveFrom: import.meta.url, connectTimeoutMs }))
  cluster.on('error', (error) => report(inWords(error)))
  const shop = opened.use(new Shop({ cluster, ...configuration, report }))
  await shop.start()
  const server = buildServer({ shop, drainMs, report })
  const url = await listen(server, host, port)
  cluster.handleSignals({
    deadlineMs: drainMs,
    beforeDrain: async () => {
      // First, so that /readyz says 503 and the printer stops while the last answers are still being sent.
      const drained = shop.drain(drainMs)
      await closeServer(server, closeServerMs)
      await drained
      shop[Symbol.dispose]()
    },
  })
  process.stdout.write(startReport(cluster.describe(), url, configuration.dataFolder))
  opened.move()
}

function report(message: string): void {
  process.stderr.write(`${message}\n`)
}

/** Code and message, without a stack: what went wrong at start is nothing to debug. */
function inWords(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const code = 'code' in error ? String(error.code) : 'INTERNAL'
  return error.message.includes(code) ? error.message : `${code}: ${error.message}`
}

// A host app in TypeScript. It is compiled, not run: each "@ts-expect-error" says that the published types
// refuse the line below it, and is itself an error where they do not.
import { createCluster } from '@multinode/core'

export async function payInvoice(): Promise<number> {
  const cluster = await createCluster()
  const token: number = await cluster.locks.run('invoice:42', async (lease) => lease.token)

  // @ts-expect-error: a routine that returns a number gives a number
  const text: string = await cluster.locks.run('invoice:42', async (lease) => lease.token)
  // @ts-expect-error: a lock needs a routine
  await cluster.locks.run('invoice:42')

  await cluster.close()
  return token + text.length
}

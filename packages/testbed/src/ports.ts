import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { claim } from './claim.ts'
import { testbedFolder } from './temp-folder.ts'

// Below the ephemeral range of the kernel (from 32768), whose ports any outgoing connection may take between
// our look and our use; and low enough that port + 10000, the bus of a Redis Cluster, is below it too.
const firstPort = 10_000
const lastPort = 19_999
const maxTries = 500
const busOffset = 10_000

export interface ClaimedPort {
  readonly port: number
  readonly release: () => void
}

/** A loopback port that nobody listens on, and that no other testbed process takes until it is released. */
export async function claimPort(): Promise<ClaimedPort> {
  return await claimTogether([0])
}

/** A port for a node of a Redis Cluster, whose bus has the port + 10000: both are claimed, and released, as one. */
export async function claimPortWithBus(): Promise<ClaimedPort> {
  return await claimTogether([0, busOffset])
}

async function claimTogether(offsets: readonly number[]): Promise<ClaimedPort> {
  for (let tries = 0; tries < maxTries; tries++) {
    const port = randomInt(firstPort, lastPort + 1)
    const release = await claimAll(offsets.map((offset) => port + offset))
    if (release) return { port, release }
  }
  throw new Error(
    `no free port between ${firstPort} and ${lastPort} in ${maxTries} tries; stop what listens there, ` +
      `or remove ${testbedFolder('ports')}`,
  )
}

async function claimAll(ports: readonly number[]): Promise<(() => void) | undefined> {
  const releases: (() => void)[] = []
  const releaseAll = () => {
    for (const release of releases) release()
  }
  for (const port of ports) {
    const release = claim(join(testbedFolder('ports'), String(port)))
    if (release) releases.push(release)
    if (release && (await canListen(port))) continue
    releaseAll()
    return undefined
  }
  return releaseAll
}

/** Removes the claims of processes that are gone (SIGKILL leaves them). */
export function sweepPortClaims(): void {
  const folder = testbedFolder('ports')
  // Not the files that another process has just prepared: see `claim`.
  const ports = readdirSync(folder).filter((name) => /^\d+$/.test(name))
  for (const port of ports) claim(join(folder, port))?.()
}

async function canListen(port: number): Promise<boolean> {
  const server = createServer()
  try {
    server.listen({ port, host: '127.0.0.1', exclusive: true })
    await once(server, 'listening')
  } catch {
    return false
  }
  server.close()
  await once(server, 'close')
  return true
}

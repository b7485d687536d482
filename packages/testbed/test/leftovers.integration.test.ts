import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { processState, serversAvailable, spawnNode, waitUntil } from '../src/index.ts'
import { sweepPortClaims } from '../src/ports.ts'
import { sweepTemporaryFolders, testbedFolder } from '../src/temp-folder.ts'

const driver = new URL('./fixtures/topology-driver.ts', import.meta.url)

function foldersOf(pid: number): string[] {
  return readdirSync(testbedFolder('folders')).filter((name) => name.startsWith(`${pid}-`))
}

function claimsOf(pid: number): string[] {
  const folder = testbedFolder('ports')
  return readdirSync(folder).filter((name) => readIfThere(`${folder}/${name}`) === String(pid))
}

/** With what they started themselves: an Erlang node has helpers of its own. */
function descendantsOf(pid: number): number[] {
  return childrenOf(pid).flatMap((child) => [child, ...descendantsOf(child)])
}

function childrenOf(pid: number): number[] {
  const children = readIfThere(`/proc/${pid}/task/${pid}/children`).trim()
  return children === '' ? [] : children.split(' ').map(Number)
}

/** What it is about may be gone by now: a port that another test released, a program that a server ran for a moment. */
function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

// A RabbitMQ beside other tests takes a while: two minutes are what the testbed gives it.
const startMs = 130_000
const options = { timeout: 200_000 }

// Its servers are found in /proc, and the death signal is a thing of Linux.
describe.runIf(serversAvailable() && process.platform === 'linux')(
  'a process that started several',
  options,
  () => {
    it.concurrent.each([
      { topology: 'sentinel', signal: 'SIGKILL', servers: 6, claims: 6 },
      { topology: 'cluster', signal: 'SIGKILL', servers: 3, claims: 6 },
      { topology: 'sentinel', signal: 'SIGINT', servers: 6, claims: 6 },
      // One of its two is an epmd, which has a port and no folder.
      { topology: 'rabbitmq', signal: 'SIGKILL', servers: 2, folders: 1, claims: 3 },
      { topology: 'rabbitmq', signal: 'SIGINT', servers: 2, folders: 1, claims: 3 },
    ] as const)(
      'leaves none of a $topology after $signal',
      async ({ topology, signal, servers, folders = servers, claims }) => {
        await using child = await spawnNode(driver, { args: [topology] })
        await child.nextLine('started', startMs)
        const { pid } = child
        expect(childrenOf(pid)).toHaveLength(servers)
        const pids = descendantsOf(pid)
        expect(foldersOf(pid)).toHaveLength(folders)
        expect(claimsOf(pid)).toHaveLength(claims)
        await child.kill(signal)
        await waitUntil('the servers to be gone', () => pids.every((each) => processState(each) === 'gone'))
        if (signal === 'SIGKILL') {
          sweepTemporaryFolders()
          sweepPortClaims()
        }
        expect(foldersOf(pid)).toEqual([])
        expect(claimsOf(pid)).toEqual([])
      },
    )
  },
)

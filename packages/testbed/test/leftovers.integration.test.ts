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
  return readdirSync(folder).filter((name) => ownerOf(`${folder}/${name}`) === String(pid))
}

function ownerOf(claim: string): string {
  try {
    return readFileSync(claim, 'utf8')
  } catch {
    // Released meanwhile by another test.
    return ''
  }
}

// Its servers are found in /proc, and the death signal is a thing of Linux.
describe.runIf(serversAvailable() && process.platform === 'linux')('a process that started several', () => {
  it.concurrent.each([
    { topology: 'sentinel', signal: 'SIGKILL', servers: 6, claims: 6 },
    { topology: 'cluster', signal: 'SIGKILL', servers: 3, claims: 6 },
    { topology: 'sentinel', signal: 'SIGINT', servers: 6, claims: 6 },
  ] as const)('leaves none of a $topology after $signal', async ({ topology, signal, servers, claims }) => {
    await using child = await spawnNode(driver, { args: [topology] })
    await child.nextLine('started', 15_000)
    const { pid } = child
    const pids = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number)
    expect(pids).toHaveLength(servers)
    expect(foldersOf(pid)).toHaveLength(servers)
    expect(claimsOf(pid)).toHaveLength(claims)
    await child.kill(signal)
    await waitUntil('the servers to be gone', () => pids.every((each) => processState(each) === 'gone'))
    if (signal === 'SIGKILL') {
      sweepTemporaryFolders()
      sweepPortClaims()
    }
    expect(foldersOf(pid)).toEqual([])
    expect(claimsOf(pid)).toEqual([])
  })
})

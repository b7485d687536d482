import { existsSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { type NodeChild, serversAvailable, spawnNode, waitUntil } from '../src/index.ts'
import { sweepClocks } from '../src/movable-clock.ts'

const clocks = new URL('./fixtures/clocks.ts', import.meta.url)
const hourMs = 3_600_000
// Far more than an answer of the child takes, far less than what the clock is moved.
const toleranceMs = 60_000

async function ask(child: NodeChild): Promise<{ wallMs: number; uptimeMs: number }> {
  child.send('clocks')
  const [, wallMs, uptimeMs] = (await child.nextLine('clocks')).split(' ').map(Number)
  return { wallMs: wallMs ?? NaN, uptimeMs: uptimeMs ?? NaN }
}

// libfaketime is not a server, but needs to be installed like one.
describe.runIf(serversAvailable() && process.platform === 'linux')('spawnNode with a clock', () => {
  it('moves the time of day to and fro, and not performance.now()', async () => {
    await using child = await spawnNode(clocks, { clock: true })
    const before = await ask(child)
    expect(Math.abs(before.wallMs - Date.now())).toBeLessThan(toleranceMs)
    child.moveClock(hourMs)
    const later = await ask(child)
    expect(later.wallMs - before.wallMs).toBeGreaterThanOrEqual(hourMs)
    expect(later.wallMs - before.wallMs).toBeLessThan(hourMs + toleranceMs)
    expect(later.uptimeMs - before.uptimeMs).toBeLessThan(toleranceMs)
    child.moveClock(-2 * hourMs)
    const earlier = await ask(child)
    expect(earlier.wallMs - before.wallMs).toBeLessThan(-hourMs + toleranceMs)
    expect(earlier.uptimeMs).toBeGreaterThan(later.uptimeMs)
  })

  it('moves no other clock', async () => {
    await using moved = await spawnNode(clocks, { clock: true })
    await using other = await spawnNode(clocks, { clock: true })
    moved.moveClock(hourMs)
    expect(Math.abs((await ask(other)).wallMs - Date.now())).toBeLessThan(toleranceMs)
  })

  it('needs to be asked for, and a child that runs', async () => {
    await using plain = await spawnNode(clocks)
    expect(() => plain.moveClock(1)).toThrow('with { clock: true }')
    await using child = await spawnNode(clocks, { clock: true })
    await child.kill()
    expect(() => child.moveClock(1)).toThrow('has ended')
  })

  it.each(['stop', 'kill', 'end'] as const)('leaves nothing in shared memory after %s', async (how) => {
    await using child = await spawnNode(clocks, { clock: true })
    await ask(child)
    const shared = `/dev/shm/faketime_shm_${child.pid}`
    expect(existsSync(shared)).toBe(true)
    if (how === 'end') child.send('end')
    else await child[how]()
    await child.exited
    await waitUntil('the shared memory to be removed', () => !existsSync(shared))
    expect(existsSync(`/dev/shm/sem.faketime_sem_${child.pid}`)).toBe(false)
  })

  it('sweeps what a dead process left, and nothing of one that runs', async () => {
    await using child = await spawnNode(clocks, { clock: true })
    await ask(child)
    await using dead = await spawnNode(clocks)
    await dead.kill()
    const orphan = `/dev/shm/faketime_shm_${dead.pid}`
    writeFileSync(orphan, '')
    sweepClocks()
    expect(existsSync(orphan)).toBe(false)
    expect(existsSync(`/dev/shm/faketime_shm_${child.pid}`)).toBe(true)
  })
})

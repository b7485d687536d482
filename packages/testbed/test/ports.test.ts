import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { claim } from '../src/claim.ts'
import { claimPort, temporaryFolder } from '../src/index.ts'
import { claimPortWithBus } from '../src/ports.ts'
import { testbedFolder } from '../src/temp-folder.ts'

it('gives ports below the ephemeral range, each of them once', async () => {
  const claimed = await Promise.all(Array.from({ length: 50 }, () => claimPort()))
  const ports = claimed.map(({ port }) => port)
  for (const { release } of claimed) release()
  expect(new Set(ports).size).toBe(50)
  expect(Math.min(...ports)).toBeGreaterThanOrEqual(10_000)
  expect(Math.max(...ports)).toBeLessThan(20_000)
})

it('gives a port that a server can listen on', async () => {
  const { port, release } = await claimPort()
  const server = createServer().listen(port, '127.0.0.1')
  await once(server, 'listening')
  expect(server.address()).toMatchObject({ port })
  server.close()
  release()
})

it('claims the bus of a node of a Cluster with its port, and releases both', async () => {
  const { port, release } = await claimPortWithBus()
  const files = [port, port + 10_000].map((each) => join(testbedFolder('ports'), String(each)))
  expect(files.map((file) => claim(file))).toEqual([undefined, undefined])
  release()
  expect(files.map((file) => existsSync(file))).toEqual([false, false])
})

it('refuses a claim that is held, until it is released', () => {
  const folder = temporaryFolder('claim')
  const file = join(folder.path, 'thing')
  const release = claim(file)
  expect(release).toBeTypeOf('function')
  expect(claim(file)).toBeUndefined()
  release?.()
  expect(claim(file)).toBeTypeOf('function')
  folder.remove()
})

it('takes over the claim of a process that is gone', () => {
  const folder = temporaryFolder('claim')
  const file = join(folder.path, 'thing')
  writeFileSync(file, String(spawnSync(process.execPath, ['--version']).pid))
  expect(claim(file)).toBeTypeOf('function')
  folder.remove()
})

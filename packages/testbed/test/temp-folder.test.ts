import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, it } from 'vitest'
import { temporaryFolder } from '../src/index.ts'
import { sweepTemporaryFolders } from '../src/temp-folder.ts'

it('removes a folder with all that is in it', () => {
  const { path, remove } = temporaryFolder('test')
  writeFileSync(join(path, 'file'), 'content')
  remove()
  expect(existsSync(path)).toBe(false)
})

it('sweeps the folders of processes that are gone, and no others', () => {
  const mine = temporaryFolder('test')
  const orphan = join(dirname(mine.path), `${spawnSync(process.execPath, ['--version']).pid}-test-orphan`)
  mkdirSync(orphan)
  sweepTemporaryFolders()
  expect(existsSync(orphan)).toBe(false)
  expect(existsSync(mine.path)).toBe(true)
  mine.remove()
})

it('has removed a folder also when somebody else removes it at the same time', async () => {
  for (let round = 0; round < 10; round += 1) {
    const { path, remove } = temporaryFolder('test')
    for (let index = 0; index < 500; index += 1) writeFileSync(join(path, String(index)), '')
    const other = spawn('rm', ['-rf', path], { stdio: 'ignore' })
    const gone = once(other, 'exit')
    remove()
    expect(existsSync(path)).toBe(false)
    await gone
  }
})

import { spawnSync } from 'node:child_process'
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

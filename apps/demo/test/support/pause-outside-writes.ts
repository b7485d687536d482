import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type NodeChild, waitUntil } from '@multinode/testbed'
import { onTestFinished } from 'vitest'

/** A process that is frozen in the middle of a write keeps the whole file locked, which is not what is shown here. */
export async function pauseOutsideWrites(child: NodeChild, folder: string): Promise<void> {
  const database = new DatabaseSync(path.join(folder, 'shop.sqlite'), { timeout: 500 })
  onTestFinished(() => database.close())
  await waitUntil('a pause outside of a write', async () => {
    await child.pause()
    try {
      database.exec('BEGIN IMMEDIATE; ROLLBACK')
      return true
    } catch {
      child.resume()
      return false
    }
  })
}

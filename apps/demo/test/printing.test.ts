import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import path from 'node:path'
import { waitUntil } from '@multinode/testbed'
import { expect, test } from 'vitest'
import { holdPrints, withPrintHold } from './support/print-hold.ts'
import { dataFolder, refusal, startShop } from './support/print-shop.ts'

test('what cannot be printed is tried three times and is failed then', async () => {
  const folder = dataFolder()
  const shop = await startShop({ DATA_DIR: folder })
  rmSync(path.join(folder, 'sheets'), { recursive: true })
  const id = await shop.order('poster')
  expect(await shop.untilStatus(id, 'failed')).toMatchObject({ attempts: 3 })
  expect(await refusal(await shop.call(`/orders/${id}/sheet`))).toMatchObject({
    status: 409,
    code: 'PRINT_FAILED',
  })
  expect(shop.child.output()).toContain(`Order ${id} could not be printed (attempt 3 of 3): ENOENT`)
})

test('a failure that passes is not seen by the customer, who is told to wait', async () => {
  const folder = dataFolder()
  const sheets = path.join(folder, 'sheets')
  const shop = await startShop({ DATA_DIR: folder, ...withPrintHold })
  rmSync(sheets, { recursive: true })
  // Else the two other attempts might fail, too, before the failure has passed.
  const letGo = holdPrints(folder, 1)
  const id = await shop.order('poster')
  await waitUntil('a failed attempt', () => shop.child.output().includes('attempt 1 of 3'))
  const early = await shop.call(`/orders/${id}/sheet`)
  expect(early.headers.get('retry-after')).toBe('1')
  expect(await refusal(early)).toMatchObject({ status: 409, code: 'SHEET_NOT_READY' })
  mkdirSync(sheets)
  letGo()
  expect(await shop.untilStatus(id, 'finished')).toMatchObject({ attempts: 2 })
  expect(readdirSync(sheets)).toEqual([`${id}.png`])
})

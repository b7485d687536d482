import { expect, test } from 'vitest'
import { openDatabase } from '../src/database.ts'
import { Stock } from '../src/stock.ts'
import { dataFolder } from './support/print-shop.ts'

interface StockRow {
  read(token: number): number
  write(quantity: number, token: number): void
}

/** Both sides of the comparison: the shop's own stock, and the same two statements without a token. */
function openRows(): { fenced: StockRow; unfenced: StockRow; left: () => number } {
  const database = openDatabase(dataFolder())
  const stock = new Stock(database)
  const left = (): number =>
    Number(database.prepare("SELECT quantity FROM stock WHERE item = 'letterpress'").get()?.['quantity'])
  return {
    left,
    fenced: {
      read: (token) => stock.read('letterpress', token),
      write: (quantity, token) => stock.write('letterpress', quantity, token),
    },
    unfenced: {
      read: left,
      write: (quantity) => {
        database.prepare("UPDATE stock SET quantity = ? WHERE item = 'letterpress'").run(quantity)
      },
    },
  }
}

/** The first holder pauses between read and write; meanwhile its lease runs out and the second one sells 10. */
function sellAfterPause(row: StockRow): () => void {
  const leftBeforePause = row.read(1)
  const left = row.read(2)
  row.write(left - 10, 2)
  return () => row.write(leftBeforePause - 5, 1)
}

/** The first holder's late write falls between the second one's read and write. */
function sellDuringLateWrite(row: StockRow): void {
  const leftBeforePause = row.read(1)
  const left = row.read(2)
  try {
    row.write(leftBeforePause - 5, 1)
  } finally {
    row.write(left - 10, 2)
  }
}

test('a write with a stale token is refused and changes nothing', () => {
  const { fenced, left } = openRows()
  expect(sellAfterPause(fenced)).toThrow(expect.objectContaining({ code: 'STALE_TOKEN' }))
  expect(left()).toBe(20)
})

test('control: without tokens the late write sells items that do not exist', () => {
  const { unfenced, left } = openRows()
  sellAfterPause(unfenced)()
  expect(left()).toBe(25)
})

test('a read makes earlier tokens stale, so that a late write cannot come in between', () => {
  const { fenced, left } = openRows()
  expect(() => sellDuringLateWrite(fenced)).toThrow(expect.objectContaining({ code: 'STALE_TOKEN' }))
  expect(left()).toBe(20)
})

test('control: without tokens the late write is accepted and then overwritten', () => {
  const { unfenced, left } = openRows()
  expect(() => sellDuringLateWrite(unfenced)).not.toThrow()
  // 15 were sold of 30.
  expect(left()).toBe(20)
})

test('a read with a stale token is refused', () => {
  const { fenced } = openRows()
  fenced.read(2)
  expect(() => fenced.read(1)).toThrow(/refused the fencing token 1/)
})

test('a holder may read and write as often as it likes with its own token', () => {
  const { fenced, left } = openRows()
  fenced.write(fenced.read(7) - 1, 7)
  fenced.write(fenced.read(7) - 1, 7)
  expect(left()).toBe(28)
})

test('tokens of the size that locks give are compared exactly', () => {
  const { fenced } = openRows()
  fenced.read(Number.MAX_SAFE_INTEGER)
  expect(() => fenced.read(Number.MAX_SAFE_INTEGER - 1)).toThrow('refused the fencing token')
})

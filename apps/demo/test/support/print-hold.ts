import { rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const fixture = fileURLToPath(new URL('../fixtures/hold-printing.ts', import.meta.url))

/** Of a shop whose prints can be held up. */
export const withPrintHold = { NODE_OPTIONS: `--import=${fixture}` }
/** What such a shop writes for each print that it holds up. */
export const heldLine = 'in the middle of printing'

/**
 * From now on each node holds its prints up before their sheet is stored.
 *
 * @param passing the first so many of each node since it began are not held
 * @returns lets them go on
 */
export function holdPrints(folder: string, passing = 0): () => void {
  const hold = path.join(folder, 'hold')
  writeFileSync(hold, String(passing))
  return () => rmSync(hold)
}

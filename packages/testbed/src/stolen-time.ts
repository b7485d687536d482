import { readFileSync } from 'node:fs'
import { ownLateness, stepMs } from './lateness.ts'

/** What Linux counts in `/proc/stat`. */
const tickMs = 10

let running = 0
let atBeginMs = 0
let mostMs = 0
let lateMs = ownLateness()
let looking: NodeJS.Timeout | undefined

/**
 * For how long the host of this virtual machine has let its processors wait since the test began, all of them together (0 where nothing tells), and the longest that this process meanwhile did not come to
 * its turn, because others use the machine; what it computed itself is not counted. So much later than on a machine of its own may anything be: bounds of a test in ms are given as `bound + stolenMs()`.
 * On a quiet machine it is a few ms.
 */
export function stolenMs(): number {
  // The stall may have ended with the answer that the test waited for, before any timer.
  look()
  return sinceBootMs(readStat()) - atBeginMs + mostMs
}

/** Of tests that run side by side the first one counts for all. */
export function testBegins(): void {
  looking ??= setInterval(look, stepMs).unref()
  if (running === 0) {
    atBeginMs = sinceBootMs(readStat())
    mostMs = 0
    lateMs = ownLateness()
  }
  running += 1
}

export function testEnds(): void {
  running -= 1
}

/** @param stat the content of `/proc/stat` */
export function sinceBootMs(stat: string): number {
  const [, , , , , , , , steal = '0'] = (stat.split('\n', 1)[0] ?? '').split(/\s+/)
  return Number(steal) * tickMs
}

function look(): void {
  mostMs = Math.max(mostMs, lateMs())
}

function readStat(): string {
  try {
    return readFileSync('/proc/stat', 'utf8')
  } catch {
    return ''
  }
}

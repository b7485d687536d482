import { readFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'

/** What Linux counts in `/proc/stat`. */
const tickMs = 10

let running = 0
let atBeginMs = 0
const loop = monitorEventLoopDelay({ resolution: 5 })
loop.enable()

/**
 * For how long the host of this virtual machine has let its processors wait since the test began, all of them together (0 where nothing tells), and the longest that this process meanwhile did not come to
 * its turn at once, because others use the machine. So much later than on a machine of its own may anything be: bounds of a test in ms are given as `bound + stolenMs()`. On a quiet machine it is a few ms.
 */
export function stolenMs(): number {
  return sinceBootMs(readStat()) - atBeginMs + loop.max / 1e6
}

/** Of tests that run side by side the first one counts for all. */
export function testBegins(): void {
  if (running === 0) {
    atBeginMs = sinceBootMs(readStat())
    loop.reset()
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

function readStat(): string {
  try {
    return readFileSync('/proc/stat', 'utf8')
  } catch {
    return ''
  }
}

/**
 * Preloaded into children of spawnNode(): stalls the event loop when told over the IPC channel, which does not
 * keep the child alive. And keeps what was compiled for the next child, which Node does only at an orderly end, and most are killed.
 */
import { flushCompileCache } from 'node:module'
import { isStallOrder, type StallBegun } from './stall.ts'

// What the child forks inherits its arguments, and should not be preloaded too.
const at = process.execArgv.indexOf(import.meta.url)
if (at > 0) process.execArgv.splice(at - 1, 2)

// A worker thread preloads it as well, and has no channel.
if (process.channel) {
  process.on('message', (message) => {
    if (isStallOrder(message)) stall(message.stallMs, message.stallId)
  })
  process.channel.unref()
}

setTimeout(flushCompileCache, 1_000).unref()

function stall(ms: number, stallId: number): void {
  const begun: StallBegun = { stallBegunId: stallId }
  // When it is written: nothing is sent any more while the loop stalls.
  process.send?.(begun, () => {
    const endMs = performance.now() + ms
    while (performance.now() < endMs);
  })
}

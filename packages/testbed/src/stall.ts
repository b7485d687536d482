import type { ChildProcess } from 'node:child_process'
import { withDeadline } from './deadline.ts'

/** What a child is told, and what it answers, beside any messages of its own. */
export interface StallOrder {
  readonly stallMs: number
  readonly stallId: number
}

export interface StallBegun {
  readonly stallBegunId: number
}

/** Where the child's part is: for `--import`. */
export const stallPreload: string = new URL('stall-preload.ts', import.meta.url).href

let lastId = 0

/** Keeps the child's event loop from turning for this long; resolves when that begins. */
export async function stall(child: ChildProcess, ms: number, deadlineMs = 10_000): Promise<void> {
  const stallId = ++lastId
  let settle: (() => void) | undefined
  const begun = new Promise<void>((resolve, reject) => {
    const onMessage = (message: unknown) => {
      if (isStallBegun(message) && message.stallBegunId === stallId) resolve()
    }
    const onExit = () => reject(new Error('the child ended before the stall began'))
    child.on('message', onMessage)
    child.once('exit', onExit)
    settle = () => {
      child.off('message', onMessage)
      child.off('exit', onExit)
    }
    const order: StallOrder = { stallMs: ms, stallId }
    child.send(order, (error) => {
      if (error) reject(error)
    })
  })
  try {
    await withDeadline(begun, deadlineMs, () => `the child's event loop did not turn for ${deadlineMs} ms`)
  } finally {
    settle?.()
  }
}

export function isStallOrder(message: unknown): message is StallOrder {
  return isObjectWith('stallMs', message) && isObjectWith('stallId', message)
}

function isStallBegun(message: unknown): message is StallBegun {
  return isObjectWith('stallBegunId', message)
}

function isObjectWith(key: string, value: unknown): boolean {
  return typeof value === 'object' && value !== null && key in value
}

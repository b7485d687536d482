import type { IncomingSignal } from '@multinode/core'

/** One entry of a log, as XREAD gives it. */
export interface LogEntry {
  readonly id: string
  readonly number: number
  readonly epoch: string
  /** Nothing for an entry which says that a node came or went. */
  readonly signal: IncomingSignal | undefined
}

/**
 * Reads a reply of XREAD for one stream, in bytes: `[[key, entries]]`, or `[key, entries]` by protocol 3; each entry is `[id, [field, value, ...]]`. Null: none.
 * @returns undefined for an entry that no publisher of ours wrote
 * @throws for anything that is no such reply
 */
export function readEntries(reply: unknown, lane: number): (LogEntry | undefined)[] {
  if (reply === null) return []
  const [first, second] = listOf(reply)
  const entries = Array.isArray(first) ? first[1] : second
  return listOf(entries).map((entry) => readEntry(entry, lane))
}

function readEntry(entry: unknown, lane: number): LogEntry | undefined {
  const [id, fields] = listOf(entry)
  const [, head, , data] = listOf(fields)
  const [number, epoch, source, sequence, topic] = String(head).split(' ')
  if (epoch === undefined || source === undefined || topic === undefined || !(data instanceof Uint8Array)) {
    return undefined
  }
  return {
    id: String(id),
    number: Number(number),
    epoch,
    signal: topic === '' ? undefined : { lane, source, sequence: Number(sequence), topic, data },
  }
}

function listOf(value: unknown): unknown[] {
  if (Array.isArray(value)) return value
  throw new Error(`the server answered what is no list: ${String(value).slice(0, 200)}`)
}

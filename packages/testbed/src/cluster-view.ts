import type { RedisServer } from './redis-server.ts'

/** A node as another one sees it. */
export interface ClusterEntry {
  readonly id: string
  readonly port: number
  /** Such as `master`, `slave`, `fail?`, `fail`, `handshake`. */
  readonly flags: readonly string[]
  /** The id of a replica's master. */
  readonly masterId: string
  /** First and last of each range. */
  readonly slots: readonly (readonly [number, number])[]
}

/** CLUSTER NODES: one node's view of all. */
export async function clusterView(node: RedisServer): Promise<ClusterEntry[]> {
  return String(await node.cli('CLUSTER', 'NODES'))
    .trim()
    .split('\n')
    .map(readEntry)
}

function readEntry(line: string): ClusterEntry {
  const [id = '', address = '', flags = '', masterId = '', , , , , ...slots] = line.split(' ')
  return {
    id,
    port: Number(/:(\d+)/.exec(address)?.[1]),
    flags: flags.split(',').filter((flag) => flag !== 'myself'),
    masterId,
    // In brackets are slots that are being moved.
    slots: slots.filter((range) => !range.startsWith('[')).map(readRange),
  }
}

function readRange(range: string): readonly [number, number] {
  const [first, last = first] = range.split('-').map(Number)
  return [first ?? NaN, last ?? NaN]
}

export function ownerOf(slot: number, view: readonly ClusterEntry[]): ClusterEntry | undefined {
  return view.find(({ slots }) => slots.some(([first, last]) => first <= slot && slot <= last))
}

import type { OutgoingSignal, PublishReply } from '@multinode/core'
import { callMs, type LowNode } from './pubsub-world.ts'

const encoder = new TextEncoder()
const decoder = new TextDecoder()

export const topic = 'orders.changed'

export interface Sending {
  readonly topic?: string
  readonly lane?: number
  /** Default: the lowest of the sequences, as after the ones before were accepted. */
  readonly firstUnaccepted?: number
}

/** Publishes from below, with each sequence as its data. */
export function publish(
  node: LowNode,
  sequences: readonly number[],
  sending: Sending = {},
): Promise<PublishReply> {
  const signals = sequences.map((sequence): OutgoingSignal => {
    return { sequence, topic: sending.topic ?? topic, data: encoder.encode(`${sequence}`) }
  })
  return send(node, signals, sending)
}

export function send(
  { driver }: LowNode,
  signals: readonly OutgoingSignal[],
  { lane = 0, firstUnaccepted = Math.min(...signals.map(({ sequence }) => sequence)) }: Sending = {},
): Promise<PublishReply> {
  return driver.publish({ lane, signals, firstUnaccepted }, callMs)
}

/** A short round trip to the node's server. */
export function asking({ driver }: LowNode): () => Promise<unknown> {
  return () => driver.ping(callMs).catch(() => 'it says nothing of how late it is')
}

export function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index)
}

export function textOf({ data }: { readonly data: Uint8Array }): string {
  return decoder.decode(data)
}

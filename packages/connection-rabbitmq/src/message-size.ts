/**
 * At least as many bytes as headers take in AMQP: amqplib writes them into a buffer of 64 KiB, and a server ends a connection whose headers do
 * not fit into one frame.
 */
export function headerBytes(value: unknown): number {
  if (typeof value === 'string') return 5 + Buffer.byteLength(value)
  if (Buffer.isBuffer(value)) return 5 + value.length
  if (Array.isArray(value)) return value.reduce((sum: number, each) => sum + headerBytes(each), 5)
  if (typeof value !== 'object' || value === null) return 9
  return Object.entries(value).reduce(
    (sum, [name, each]) => sum + 1 + Buffer.byteLength(name) + headerBytes(each),
    5,
  )
}

import type { Socket } from 'node:net'

/**
 * amqplib writes each frame by itself. A system call for each would cost more than all the rest of a message, for the server too: so the first leaves at once, and those that are
 * written in the same turn leave together.
 */
export function writeTogether(stream: Socket): void {
  const write = stream.write.bind(stream)
  Object.assign(stream, {
    write(...args: Parameters<typeof write>): boolean {
      const hasRoom = write(...args)
      if (stream.writableCorked === 0) {
        stream.cork()
        process.nextTick(() => stream.uncork())
      }
      return hasRoom
    },
  })
}

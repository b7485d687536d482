import { Redis } from 'ioredis'

/** A group is written while the server still works on the one before. In one group with all others it would wait, and then the client would. */
const groupSize = 16

/**
 * The first command leaves at once, further ones in groups, the last group when the running code and its promises are done. A system call for each would cost
 * more than all the rest of it.
 */
export class BatchingRedis extends Redis {
  #held = 0

  override sendCommand(...args: Parameters<Redis['sendCommand']>): ReturnType<Redis['sendCommand']> {
    const answer = super.sendCommand(...args)
    const { stream } = this
    // A pipeline has a stream of its own, and there is none before the first connection.
    if (args[1] !== undefined || stream === undefined) return answer
    if (stream.writableCorked === 0) {
      this.#held = 0
      stream.cork()
      process.nextTick(() => stream.uncork())
    } else {
      this.#held += 1
      if (this.#held % groupSize === 0) {
        stream.uncork()
        stream.cork()
      }
    }
    return answer
  }
}

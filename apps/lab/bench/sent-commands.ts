import { subscribe, unsubscribe } from 'node:diagnostics_channel'

const channel = 'tracing:ioredis:command:start'

/** Counts the commands that clients of this process send, whoever made them; what a script does on the server is not among them. */
export class SentCommands implements Disposable {
  readonly #byPort = new Map<number, number>()

  constructor() {
    subscribe(channel, this.#note)
  }

  /** To the server on this port of this machine. */
  to(port: number): number {
    return this.#byPort.get(port) ?? 0
  }

  [Symbol.dispose](): void {
    unsubscribe(channel, this.#note)
  }

  readonly #note = (message: unknown): void => {
    const port = portOf(message)
    this.#byPort.set(port, this.to(port) + 1)
  }
}

function portOf(message: unknown): number {
  if (typeof message === 'object' && message !== null && 'serverPort' in message)
    return Number(message.serverPort)
  throw new Error('ioredis does not say any more where a command goes')
}

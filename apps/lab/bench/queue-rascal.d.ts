/** It has no types: as much of them as is used. */
declare module 'rascal' {
  import type { EventEmitter } from 'node:events'

  interface Session {
    on(
      event: 'message',
      listener: (message: unknown, content: unknown, acknowledge: () => void) => void,
    ): this
    cancel(): Promise<void>
  }

  interface Broker extends EventEmitter {
    publish(name: string, payload: unknown, options: object): Promise<EventEmitter>
    subscribe(name: string, options: object): Promise<Session>
    shutdown(): Promise<void>
  }

  const rascal: { readonly BrokerAsPromised: { create(config: object): Promise<Broker> } }
  export default rascal
}

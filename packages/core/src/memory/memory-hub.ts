/**
 * What the memory backends of one cluster name share within this process, so that two cluster objects of one name
 * behave as two nodes. Lives as long as one of them does; module state, because a name is all that
 * two nodes have in common.
 */
export class MemoryHub {
  static readonly #hubs = new Map<string, MemoryHub>()

  readonly #clusterName: string
  readonly #parts = new Map<symbol, unknown>()
  #members = 0

  private constructor(clusterName: string) {
    this.#clusterName = clusterName
  }

  /** Every `join` needs one {@link leave}. */
  static join(clusterName: string): MemoryHub {
    let hub = MemoryHub.#hubs.get(clusterName)
    if (hub === undefined) {
      hub = new MemoryHub(clusterName)
      MemoryHub.#hubs.set(clusterName, hub)
    }
    hub.#members += 1
    return hub
  }

  leave(): void {
    this.#members -= 1
    if (this.#members === 0) MemoryHub.#hubs.delete(this.#clusterName)
  }

  /** The part of a capability, made by the first who asks for it. Each part has a symbol of its own. */
  part<T>(name: symbol, create: () => T): T {
    if (!this.#parts.has(name)) this.#parts.set(name, create())
    return this.#parts.get(name) as T
  }
}

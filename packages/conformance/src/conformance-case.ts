/** One behaviour that every driver of a capability must show. */
export interface ConformanceCase<World, Flaw extends string> {
  /** A sentence that states the behaviour. */
  readonly name: string
  /** The defect that this case exists to catch: the kit's own tests break a driver so and expect the case to fail. */
  readonly control: Flaw
  /** Why the case does not apply here, or `undefined` when it does. */
  readonly skip?: (world: World) => Promise<string | undefined> | string | undefined
  /** Rejects when the behaviour is not shown. */
  readonly run: (world: World) => Promise<void>
}

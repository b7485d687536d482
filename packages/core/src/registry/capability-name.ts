/** The five capabilities, in the order in which they are set up. */
export const capabilityNames = ['pubsub', 'queue', 'lock', 'cache', 'workerid'] as const

export type CapabilityName = (typeof capabilityNames)[number]

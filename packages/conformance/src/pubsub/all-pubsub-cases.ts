import { appCases } from './app-cases.ts'
import { faultCases } from './fault-cases.ts'
import { logCases } from './log-cases.ts'
import { lostStateCases } from './lost-state-cases.ts'
import { memberCases } from './member-cases.ts'
import { orderCases } from './order-cases.ts'
import type { PubSubCase } from './pubsub-case.ts'

/** Everything that a driver of signals must show. */
export const pubsubCases: readonly PubSubCase[] = [
  ...logCases,
  ...orderCases,
  ...memberCases,
  ...appCases,
  ...faultCases,
  ...lostStateCases,
]

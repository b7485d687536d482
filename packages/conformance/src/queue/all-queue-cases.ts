import { addingCases } from './adding-cases.ts'
import { attemptCases } from './attempt-cases.ts'
import { closingCases } from './closing-cases.ts'
import { deadLetterCases } from './dead-letter-cases.ts'
import { dedupeCases } from './dedupe-cases.ts'
import { deliveryCases } from './delivery-cases.ts'
import { faultCases } from './fault-cases.ts'
import { lookupCases } from './lookup-cases.ts'
import type { QueueCase } from './queue-case.ts'
import { steeringCases } from './steering-cases.ts'
import { timeCases } from './time-cases.ts'
import { unsupportedCases } from './unsupported-cases.ts'
import { watchingCases } from './watching-cases.ts'

/** Everything that a driver of queues must show. */
export const queueCases: readonly QueueCase[] = [
  ...addingCases,
  ...deliveryCases,
  ...attemptCases,
  ...timeCases,
  ...dedupeCases,
  ...steeringCases,
  ...lookupCases,
  ...deadLetterCases,
  ...closingCases,
  ...watchingCases,
  ...unsupportedCases,
  ...faultCases,
]

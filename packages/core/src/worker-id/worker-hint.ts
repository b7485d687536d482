import { hostname, networkInterfaces } from 'node:os'
import { MultinodeError } from '../errors/multinode-error.ts'

/** What the place where this process runs suggests; never a proof, because schedulers do run two tasks in one slot. */
export interface Place {
  readonly hostName: string
  /** IPv4, not the loopback. */
  readonly address: string | undefined
}

/**
 * The id that the environment suggests, modulo `range`: in the order that {@link AcquireWorkerIdOptions.prefer} names.
 * @throws `MISCONFIGURED` when `WORKER_ID` is no whole number
 */
export function hintFrom(
  env: (name: string) => string | undefined,
  range: number,
  place: Place = thisPlace(),
): number | undefined {
  const workerId = env('WORKER_ID')
  if (workerId !== undefined && toNumber(workerId) === undefined) throw badWorkerId(workerId)
  const candidates = [
    workerId,
    env('TASK_SLOT'),
    env('POD_INDEX'),
    /-(\d+)$/.exec(place.hostName)?.[1],
    env('NODE_APP_INSTANCE'),
    place.address?.split('.')[3],
  ]
  const hint = candidates.map(toNumber).find((number) => number !== undefined)
  return hint === undefined ? undefined : hint % range
}

function thisPlace(): Place {
  const addresses = Object.values(networkInterfaces()).flatMap((each) => each ?? [])
  return {
    hostName: hostname(),
    address: addresses.find(({ family, internal }) => family === 'IPv4' && !internal)?.address,
  }
}

function toNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined
}

function badWorkerId(value: string): MultinodeError {
  return new MultinodeError(
    'MISCONFIGURED',
    `WORKER_ID is ${JSON.stringify(value.slice(0, 80))}; it must be a whole number from 0, such as 3, or not be set: it is only a hint.`,
    { capability: 'workerid', details: { variable: 'WORKER_ID' } },
  )
}

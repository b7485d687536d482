import { randomBytes } from 'node:crypto'
import type {
  LeaseTerms,
  RenewReply,
  RenewRequest,
  TimestampWindow,
  WindowReply,
  WorkerIdDriver,
  WorkerIdReply,
  WorkerIdRequest,
} from '@multinode/core'
import { expect } from 'vitest'
import { untilReply } from '../lock/waiting.ts'
import { callMs, type WorkerIdWorld } from './worker-id-world.ts'

/** For cases in which nothing runs out. */
export const longTerms: LeaseTerms = {
  leaseMs: 20_000,
  quarantineMs: 20_000,
  maxSkewMs: 10_000,
  maxAheadMs: 5_000,
}

/** For cases that wait until something runs out. Only what must run out is short: a slow machine must not look like a wrong clock. */
export const shortTerms: LeaseTerms = {
  leaseMs: 200,
  quarantineMs: 200,
  maxSkewMs: 10_000,
  maxAheadMs: 200,
}

/** An id as its holder knows it, of which nothing is renewed by itself. */
export interface Holding extends WindowReply {
  readonly id: number
  readonly request: WorkerIdRequest
}

/** What somebody asks for whom nobody knows yet. */
export function asking(world: WorkerIdWorld, changes: Partial<WorkerIdRequest> = {}): WorkerIdRequest {
  return {
    token: randomBytes(16).toString('hex'),
    ownerKey: world.ownerKey(),
    range: 32,
    prefer: undefined,
    isFirstStart: true,
    terms: longTerms,
    nowMs: Date.now(),
    ...changes,
  }
}

/** One attempt, which must succeed. */
export async function take(driver: WorkerIdDriver, request: WorkerIdRequest): Promise<Holding> {
  return holding(request, await driver.acquire(request, callMs))
}

/** Asks until an id is free. */
export async function takeLater(driver: WorkerIdDriver, request: WorkerIdRequest): Promise<Holding> {
  const ask = (): Promise<WorkerIdReply> => driver.acquire({ ...request, nowMs: Date.now() }, callMs)
  return holding(request, await untilReply(ask, ({ status }) => status === 'granted'))
}

/** One attempt, with whatever answer; once more where the machine was too slow for its clock to be believed. */
export function askAnew(driver: WorkerIdDriver, request: WorkerIdRequest): Promise<WorkerIdReply> {
  const ask = (): Promise<WorkerIdReply> => driver.acquire({ ...request, nowMs: Date.now() }, callMs)
  return untilReply(ask, ({ status }) => status !== 'skewed')
}

/** One renewal, with whatever answer. */
export function askRenewal(
  driver: WorkerIdDriver,
  { id, request, floorMs, ceilingMs, untilMs, backendMs }: Holding,
  changes: Partial<RenewRequest> = {},
): Promise<RenewReply> {
  const { token, ownerKey, terms } = request
  const window = { floorMs, ceilingMs, untilMs, backendMs }
  return driver.renew(
    { id, token, ownerKey, terms, usedMs: floorMs - 1, window, nowMs: Date.now(), ...changes },
    callMs,
  )
}

/** One renewal, which must succeed. */
export async function renew(
  driver: WorkerIdDriver,
  before: Holding,
  changes: Partial<RenewRequest> = {},
): Promise<Holding> {
  return renewedHolding(before, await askRenewal(driver, before, changes))
}

/** Asks until the id is its holder's again. */
export async function renewLater(driver: WorkerIdDriver, before: Holding): Promise<Holding> {
  const ask = (): Promise<RenewReply> => askRenewal(driver, before)
  return renewedHolding(before, await untilReply(ask, ({ status }) => status !== 'later'))
}

export async function giveBack(
  driver: WorkerIdDriver,
  { id, request: { token }, floorMs }: Holding,
  usedMs: number = floorMs - 1,
): Promise<void> {
  expect(await driver.release({ id, token, usedMs }, callMs)).toBe('released')
}

/** The backend's clock. Changes nothing: it asks with a clock that is refused. */
export async function backendNow(world: WorkerIdWorld, driver: WorkerIdDriver): Promise<number> {
  const reply = await driver.acquire(asking(world, { nowMs: 0 }), callMs)
  if (reply.status !== 'skewed') throw new Error(`not skewed, but ${JSON.stringify(reply)}`)
  return reply.backendMs
}

/** Until the backend's clock is past `ms`. */
export async function backendIsPast(world: WorkerIdWorld, driver: WorkerIdDriver, ms: number): Promise<void> {
  await untilReply(
    () => backendNow(world, driver),
    (nowMs) => nowMs > ms,
  )
}

/** Until a renewal raised the ceiling above `ms`. */
export async function ceilingIsPast(window: TimestampWindow, ms: number): Promise<void> {
  await untilReply(
    async () => window.ceiling(),
    (ceilingMs) => ceilingMs > ms,
  )
}

function holding(request: WorkerIdRequest, reply: WorkerIdReply): Holding {
  if (reply.status !== 'granted') throw new Error(`not granted, but ${JSON.stringify(reply)}`)
  const { id, floorMs, ceilingMs, untilMs, backendMs } = reply
  return { id, request, floorMs, ceilingMs, untilMs, backendMs }
}

function renewedHolding({ id, request }: Holding, reply: RenewReply): Holding {
  if (reply.status !== 'renewed') throw new Error(`not renewed, but ${JSON.stringify(reply)}`)
  const { floorMs, ceilingMs, untilMs, backendMs } = reply
  return { id, request, floorMs, ceilingMs, untilMs, backendMs }
}

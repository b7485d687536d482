import path from 'node:path'
import { MultinodeError } from '@multinode/core'

export interface Configuration {
  readonly host: string
  /** 0 takes any free port. */
  readonly port: number
  readonly dataFolder: string
  readonly cleanUpEveryMs: number
  readonly workerLeaseMs: number
  readonly isFirstStart: boolean
  /** How long the cache may take for an answer. */
  readonly cachePatienceMs: number
}

const dayMs = 86_400_000
const longestPatienceMs = 30_000

/** A blank variable counts as not set, because that is how compose files pass "nothing". */
export function readConfiguration(env: NodeJS.ProcessEnv): Configuration {
  const read = (name: string): string | undefined => env[name]?.trim() || undefined
  return {
    // Only this machine by default: anybody who reaches the port may drain the node.
    host: read('HOST') ?? '127.0.0.1',
    port: toPort(read('PORT') ?? '3000'),
    dataFolder: path.resolve(read('DATA_DIR') ?? path.join(import.meta.dirname, '..', 'data')),
    cleanUpEveryMs: toMs('CLEAN_UP_EVERY_MS', read('CLEAN_UP_EVERY_MS') ?? '20000'),
    workerLeaseMs: toMs('WORKER_LEASE_MS', read('WORKER_LEASE_MS') ?? '15000'),
    isFirstStart: toSwitch('FIRST_START', read('FIRST_START') ?? '0'),
    cachePatienceMs: toMs('CACHE_PATIENCE_MS', read('CACHE_PATIENCE_MS') ?? '250', longestPatienceMs),
  }
}

function toPort(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text)
  throw new MultinodeError(
    'MISCONFIGURED',
    `PORT=${text} is no port: give a number from 1 to 65535, or 0 for any free one.`,
  )
}

function toMs(name: string, text: string, mostMs = dayMs): number {
  if (/^\d{3,8}$/.test(text) && Number(text) >= 100 && Number(text) <= mostMs) return Number(text)
  throw new MultinodeError(
    'MISCONFIGURED',
    `${name}=${text} is no such time: give whole milliseconds from 100 to ${mostMs}.`,
  )
}

function toSwitch(name: string, text: string): boolean {
  if (text === '0' || text === '1') return text === '1'
  throw new MultinodeError('MISCONFIGURED', `${name}=${text} is neither 0 nor 1.`)
}

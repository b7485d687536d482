import { checkCount, checkDate, checkKnownOptions, invalid, maxDateMs } from './check.ts'
import { SnowflakeError } from './snowflake-error.ts'

/** How the bits of an id are shared out, from the highest to the lowest: time, worker, sequence. */
export interface Layout {
  /** How long a tick is, in ms: the unit in which the time is counted. */
  readonly unitMs: number
  /** Time, in ticks since the epoch. */
  readonly timeBits: number
  readonly workerBits: number
  /** 2 to this power is how many ids a worker has in each tick. */
  readonly sequenceBits: number
}

/** `nocobase53` is that of @nocobase/snowflake-id, bit for bit. */
export type LayoutName = 'nocobase53' | 'js53' | 'twitter64'

const defaultEpochMs = Date.UTC(2025, 0, 1)

const presets: Readonly<Record<LayoutName, { layout: Layout; epochMs: number }>> = {
  nocobase53: {
    layout: { unitMs: 1000, timeBits: 32, workerBits: 5, sequenceBits: 16 },
    epochMs: Date.UTC(2020, 10, 10, 16),
  },
  js53: {
    layout: { unitMs: 1, timeBits: 41, workerBits: 5, sequenceBits: 7 },
    epochMs: defaultEpochMs,
  },
  twitter64: {
    layout: { unitMs: 1, timeBits: 41, workerBits: 10, sequenceBits: 12 },
    epochMs: 1_288_834_974_657,
  },
}

const partNames = ['unitMs', 'timeBits', 'workerBits', 'sequenceBits'] as const satisfies (keyof Layout)[]

/** A layout and its epoch, checked, with what follows from them. */
export interface Format {
  readonly unitMs: number
  readonly epochMs: number
  readonly bits: number
  readonly maxTick: number
  readonly workers: number
  /** Ids of one worker in one tick. */
  readonly sequences: number
  /** The first moment whose time no longer fits, in ms since 1970. */
  readonly expiresAtMs: number
  /** For messages. */
  readonly name: string
}

/** The three numbers in an id. */
export interface Parts {
  readonly tick: number
  readonly workerId: number
  readonly sequence: number
}

export function toFormat(chosen: LayoutName | Layout = 'js53', epoch?: Date | number): Format {
  const { layout, epochMs, name } = typeof chosen === 'string' ? preset(chosen) : custom(chosen)
  const startsAtMs = epoch === undefined ? epochMs : checkDate('epoch', epoch)
  const expiresAtMs = startsAtMs + 2 ** layout.timeBits * layout.unitMs
  if (expiresAtMs > maxDateMs) {
    throw invalid('timeBits', layout.timeBits, 'so few that all times are before the year 275760')
  }
  return {
    unitMs: layout.unitMs,
    epochMs: startsAtMs,
    bits: layout.timeBits + layout.workerBits + layout.sequenceBits,
    maxTick: 2 ** layout.timeBits - 1,
    workers: 2 ** layout.workerBits,
    sequences: 2 ** layout.sequenceBits,
    expiresAtMs,
    name,
  }
}

function preset(name: LayoutName): { layout: Layout; epochMs: number; name: string } {
  if (!Object.hasOwn(presets, name)) {
    throw invalid('layout', name, `${Object.keys(presets).join(', ')}, or { ${partNames.join(', ')} }`)
  }
  return { ...presets[name], name }
}

function custom(layout: Layout): { layout: Layout; epochMs: number; name: string } {
  checkKnownOptions('layout', layout, partNames)
  checkCount('unitMs', layout.unitMs, { min: 1, max: 86_400_000 })
  checkCount('timeBits', layout.timeBits, { min: 1, max: 53 })
  checkCount('workerBits', layout.workerBits, { min: 0, max: 31 })
  checkCount('sequenceBits', layout.sequenceBits, { min: 0, max: 31 })
  const bits = layout.timeBits + layout.workerBits + layout.sequenceBits
  if (bits > 63) {
    throw new SnowflakeError(
      'INVALID_ARGUMENT',
      `layout has ${bits} bits; it must have at most 63, which is what a signed 64-bit column holds.`,
      { name: 'layout', value: bits },
    )
  }
  return { layout, epochMs: defaultEpochMs, name: 'this layout' }
}

/** When a tick starts, in ms since 1970. */
export function startOf(format: Format, tick: number): number {
  return format.epochMs + tick * format.unitMs
}

export function compose(format: Format, { tick, workerId, sequence }: Parts): bigint {
  const timeAndWorker = BigInt(tick) * BigInt(format.workers) + BigInt(workerId)
  return timeAndWorker * BigInt(format.sequences) + BigInt(sequence)
}

export function toParts(format: Format, id: bigint): Parts {
  const workers = BigInt(format.workers)
  const sequences = BigInt(format.sequences)
  return {
    tick: Number(id / sequences / workers),
    workerId: Number((id / sequences) % workers),
    sequence: Number(id % sequences),
  }
}

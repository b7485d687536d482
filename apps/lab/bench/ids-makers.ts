import { Snowflake as NocobaseSnowflake } from '@nocobase/snowflake-id'
import { Snowflake as SapphireSnowflake } from '@sapphire/snowflake'
import FlakeId from 'flake-idgen'
import { Snowflake as WasmSnowflake } from 'nodejs-snowflake'

export const workerId = 3
const epoch2025Ms = Date.UTC(2025, 0, 1)
const twitterEpochMs = 1_288_834_974_657

/** By hand, in the layout js53: what is left when nothing is checked. */
export function bareNumbers(): () => number {
  const worker = workerId * 128
  let lastMs = 0
  let sequence = 0
  return () => {
    const nowMs = Date.now()
    if (nowMs === lastMs) {
      sequence = (sequence + 1) & 127
    } else {
      lastMs = nowMs
      sequence = 0
    }
    return (nowMs - epoch2025Ms) * 4096 + worker + sequence
  }
}

/** By hand, in the layout twitter64: what does not change within a ms is kept. */
export function bareBigints(): () => bigint {
  const worker = BigInt(workerId * 4096)
  let lastMs = 0
  let last = 0n
  return () => {
    const nowMs = Date.now()
    if (nowMs === lastMs) {
      last += 1n
    } else {
      lastMs = nowMs
      last = BigInt(nowMs - twitterEpochMs) * 4_194_304n + worker
    }
    return last
  }
}

export function nocobase(): () => number {
  const ids = new NocobaseSnowflake({ workerId })
  return () => ids.generate()
}

/** Of those with 64 bits, what they give out: bigints, and a Buffer. */
export function sapphire(): () => bigint {
  const ids = new SapphireSnowflake(twitterEpochMs)
  ids.workerId = workerId
  return () => ids.generate()
}

export function wasm(): () => bigint {
  const ids = new WasmSnowflake({ custom_epoch: twitterEpochMs, instance_id: workerId })
  return () => ids.getUniqueID().valueOf()
}

export function flake(): () => bigint {
  const ids = new FlakeId({ id: workerId, epoch: twitterEpochMs })
  return () => ids.next().readBigUInt64BE()
}

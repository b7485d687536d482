import { timeLua } from './time.lua.ts'

/**
 * Gives a namespace or a tag a version that none of its entries has, whatever the clock does.
 *
 * KEYS 1 version
 * ARGV 1 ms to keep it
 * Reply the version, as text
 */
export const bumpLua: string = `
${timeLua}
local before = tonumber(redis.call('GET', KEYS[1]) or '0')
local version = string.format('%.0f', math.max(before + 1, microseconds()))
redis.call('SET', KEYS[1], version, 'PX', ARGV[1])
return version
`

import { timeLua } from './time.lua.ts'

/**
 * Gives a namespace or a tag a version that none of its entries has, whatever the clock does. Also on a server that is full: what it has of this version is
 * given back first, and a script that has written something may go on. Where it may not, there is none now, which is as good: no entry has it.
 *
 * KEYS 1 version
 * ARGV 1 ms to keep it
 * Reply the version, as text; nil when there is none
 */
export const bumpLua: string = `
${timeLua}
local before = tonumber(redis.call('GET', KEYS[1]) or '0')
local version = string.format('%.0f', math.max(before + 1, microseconds()))
redis.call('DEL', KEYS[1])
local reply = redis.pcall('SET', KEYS[1], version, 'PX', ARGV[1])
if not reply.err then return version end
if string.find(reply.err, 'OOM', 1, true) then return false end
return reply
`

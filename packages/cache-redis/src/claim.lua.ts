import { timeLua } from './time.lua.ts'

/**
 * Takes the lease of a key if it is free, and tells what is stored. Whether that is valid depends on versions in other slots, so it is for the caller to find out.
 *
 * KEYS 1 entry, 2 lease: its owner; expires with it
 * ARGV 1 owner, 2 lease in ms
 * Reply {1 granted or 0 busy, the server's time in ms as text, the record or nil}
 */
export const claimLua: string = `
${timeLua}
local holder = redis.call('GET', KEYS[2])
local isGranted = not holder or holder == ARGV[1]
if isGranted then redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2]) end
return {isGranted and 1 or 0, string.format('%.3f', milliseconds()), redis.call('GET', KEYS[1])}
`

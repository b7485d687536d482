import { logLua } from './log.lua.ts'

/**
 * A node goes. What was accepted of it stays known until it is forgotten, because a request of it may still arrive.
 *
 * KEYS 1 log, 2 meta: see {@link logLua}; 3 nodes
 * ARGV 1 source, 2 longest log, 3 name for a new epoch
 * Reply 1
 */
export const leaveLua: string = `
${logLua}
redis.call('HDEL', KEYS[3], ARGV[1])
local epoch, number = open(ARGV[3])
append(epoch, number, ARGV[2], ARGV[1], 0, '', '')
return 1
`

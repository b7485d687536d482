import { recordLua } from './record.lua.ts'

/**
 * Stores an entry if the lease of its key is still this owner's.
 *
 * KEYS 1 entry, 2 lease
 * ARGV 1 ttl in ms, 2 grace in ms, 3 versions, 4 data: see {@link recordLua}; 5 owner
 * Reply 1 stored, 0 refused
 */
export const fillLua: string = `
if redis.call('GET', KEYS[2]) ~= ARGV[5] then return 0 end
${recordLua}
store(tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4])
return 1
`

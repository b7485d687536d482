import { recordLua } from './record.lua.ts'

/**
 * Stores an entry if the lease of its key is still this owner's.
 *
 * KEYS 1 entry, 2 lease
 * ARGV 1 to 5: see {@link recordLua}; 6 owner
 * Reply 1 stored, 0 refused, -1 too late
 */
export const fillLua: string = `
if redis.call('GET', KEYS[2]) ~= ARGV[6] then return 0 end
${recordLua}
return store()
`

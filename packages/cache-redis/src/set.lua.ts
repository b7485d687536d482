import { recordLua } from './record.lua.ts'

/**
 * Stores an entry, whoever has the lease of its key.
 *
 * KEYS 1 entry, 2 lease
 * ARGV 1 ttl in ms, 2 grace in ms, 3 versions, 4 data: see {@link recordLua}
 * Reply 1
 */
export const setLua: string = `
${recordLua}
store(tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4])
return 1
`

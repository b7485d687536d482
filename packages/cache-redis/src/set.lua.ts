import { recordLua } from './record.lua.ts'

/**
 * Stores an entry, whoever has the lease of its key.
 *
 * KEYS 1 entry, 2 lease
 * ARGV and reply: see {@link recordLua}
 */
export const setLua: string = `
${recordLua}
return store()
`

import { tableLua } from './table.lua.ts'

/**
 * Who has which id, and which are in quarantine. Writes nothing.
 *
 * KEYS 1 the table: see {@link tableLua}
 * Reply the server's clock, then for each id: id, owner key, since, end of the lease, end of the quarantine, all in ms
 */
export const holdersLua: string = `
${tableLua}
local reply = {nowMs}
local fields = redis.call('HGETALL', key)
for index = 1, #fields, 2 do
  local id = tonumber(fields[index])
  local r = id and parse(fields[index + 1])
  if r and r.token ~= '' and r.freeAt > nowMs then reply[#reply + 1] = {id, r.owner, r.since, r.untilMs, r.freeAt} end
end
return reply
`

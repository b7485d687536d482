/**
 * Ends the lease if it is still the owner's.
 *
 * KEYS 1 lease
 * ARGV 1 owner
 * Reply 1 released; 0 there was no lease; -1 it is another owner's
 */
export const releaseLua = `
local owner = redis.call('HGET', KEYS[1], 'owner')
if not owner then return 0 end
if owner ~= ARGV[1] then return -1 end
redis.call('DEL', KEYS[1])
return 1
`

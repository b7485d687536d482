/**
 * Starts the lease anew if it is still the owner's. Never creates one.
 *
 * KEYS 1 lease
 * ARGV 1 owner, 2 ttl in ms
 * Reply 1 extended; 0 there is no lease; -1 it is another owner's
 */
export const extendLua = `
local owner = redis.call('HGET', KEYS[1], 'owner')
if not owner then return 0 end
if owner ~= ARGV[1] then return -1 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
`

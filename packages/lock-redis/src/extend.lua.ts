/**
 * Makes the lease last so long from now if it is still the owner's. Never creates one, and never shortens one: two extensions may overtake each
 * other.
 *
 * KEYS 1 lease
 * ARGV 1 owner, 2 ttl in ms
 * Reply 1 extended; 0 there is no lease; -1 it is another owner's
 */
export const extendLua = `
local owner = redis.call('HGET', KEYS[1], 'owner')
if not owner then return 0 end
if owner ~= ARGV[1] then return -1 end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1
`

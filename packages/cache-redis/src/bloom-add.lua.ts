/**
 * Sets bits of a Bloom filter, which is made if there is none.
 *
 * KEYS 1 filter: 64 bytes that say what it is, then its bits
 * ARGV 1 these bytes, 2 the offsets of the bits: 4 bytes each, big-endian
 * Reply 1 done; the bytes of what is there when that is another kind of filter
 */
export const bloomAddLua = `
local head = redis.call('GETRANGE', KEYS[1], 0, 63)
if head == '' then
  redis.call('SET', KEYS[1], ARGV[1])
elseif head ~= ARGV[1] then
  return head
end
for at = 1, #ARGV[2], 4 do
  redis.call('SETBIT', KEYS[1], 512 + (struct.unpack('>I4', ARGV[2], at)), 1)
end
return 1
`

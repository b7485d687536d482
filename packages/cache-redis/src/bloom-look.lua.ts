/**
 * Tells of which items all bits are set.
 *
 * KEYS 1 filter: 64 bytes that say what it is, then its bits
 * ARGV 1 these bytes, 2 bits of each item, 3 their offsets: 4 bytes each, big-endian
 * Reply nil: there is no filter; the bytes of what is there when that is another kind of filter; else a text with 1 or 0 for each item
 */
export const bloomLookLua = `
local head = redis.call('GETRANGE', KEYS[1], 0, 63)
if head == '' then return false end
if head ~= ARGV[1] then return head end
local bytesEach = 4 * ARGV[2]
local found = {}
for item = 1, #ARGV[3], bytesEach do
  local has = 1
  for at = item, item + bytesEach - 1, 4 do
    if has == 1 then has = redis.call('GETBIT', KEYS[1], 512 + (struct.unpack('>I4', ARGV[3], at))) end
  end
  found[#found + 1] = has
end
return table.concat(found)
`

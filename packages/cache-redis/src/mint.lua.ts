import { timeLua } from './time.lua.ts'

/**
 * The version of a namespace or a tag, made when there is none: the server's time, so that one that was forgotten does not come again. It is kept
 * on as long as somebody writes entries with it.
 *
 * KEYS 1 version
 * ARGV 1 ms to keep it, 2 ms below which that begins anew
 * Reply the version, as text
 */
export const mintLua: string = `
local version = redis.call('GET', KEYS[1])
if version then
  if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
  return version
end
${timeLua}
version = string.format('%.0f', microseconds())
redis.call('SET', KEYS[1], version, 'PX', ARGV[1])
return version
`

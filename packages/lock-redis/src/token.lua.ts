/**
 * Mints tokens: the server's time in microseconds, or one more than the last. It grows also where the last one was forgotten, after a
 * flush or on a replica that missed it, as long as the server's clock does not go back by more than that took. The last one is
 * forgotten by itself, `tokenTtlMs` after it is no longer ahead of the clock.
 *
 * Needs locals `tokenKey` and `tokenTtlMs`. Returns the token as a number and as text. Tokens are exact in Lua's numbers until the year 2255.
 */
export const tokenLua = `
local function mint(nowUs)
  local text = string.format('%.0f', nowUs)
  local last = tonumber(redis.call('SET', tokenKey, text, 'PX', tokenTtlMs, 'GET') or '0')
  if last < nowUs then return nowUs, text end
  local token = last + 1
  text = string.format('%.0f', token)
  redis.call('SET', tokenKey, text, 'PX', string.format('%.0f', tokenTtlMs + math.ceil((token - nowUs) / 1000)))
  return token, text
end
`

const secretParameter = /([?&][^=&#]*(?:password|secret|token|passphrase)[^=&#]*=)[^&#]*/gi
const userInfo = /^([a-z][a-z0-9+.-]*:\/\/)([^/?#]*)@/i

/**
 * An address that is safe to print: the password and every parameter whose name says that it is secret become
 * `***`. Works on text that is no valid URL too, because malformed addresses are what errors quote; there, an
 * unescaped `/` or `@` in a password still does not leak (all up to the last `@` counts as credentials).
 */
export function maskSecrets(address: string): string {
  const masked = address.replace(secretParameter, '$1***')
  const lastAt = masked.lastIndexOf('@')
  const scheme = /^[a-z][a-z0-9+.-]*:\/\//i.exec(masked)?.[0]
  if (lastAt === -1 || scheme === undefined) return lastAt === -1 ? masked : `***${masked.slice(lastAt)}`
  const user = userInfo.exec(masked)?.[2]?.split(':')[0] ?? ''
  return `${scheme}${user}:***${masked.slice(lastAt)}`
}

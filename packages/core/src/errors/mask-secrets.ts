const secretParameter =
  /([?&][^=&#]*(?:pass|pwd|secret|token|credential|api_?key|private_?key)[^=&#]*=)[^&#]*/gi
const userInfo = /^([a-z][a-z0-9+.-]*:\/\/)([^/?#]*)@/i
const addressInText = /[a-z][a-z0-9+.-]{0,30}:\/\/\S+/gi

/**
 * An address that is safe to print: the password and every parameter whose name says that it is secret become
 * `***`. Works on text that is no valid URL too, because malformed addresses are what errors quote; there, an
 * unescaped `/` or `@` in a password still does not leak (all up to the last `@` counts as credentials). The name of
 * a scoped package (`@acme/lock-etcd`) stays as it is.
 */
export function maskSecrets(address: string): string {
  const masked = address.replace(secretParameter, '$1***')
  const lastAt = masked.lastIndexOf('@')
  const scheme = /^[a-z][a-z0-9+.-]*:\/\//i.exec(masked)?.[0]
  if (lastAt === -1 || scheme === undefined) return lastAt < 1 ? masked : `***${masked.slice(lastAt)}`
  const user = userInfo.exec(masked)?.[2]?.split(':')[0] ?? ''
  return `${scheme}${user}:***${masked.slice(lastAt)}`
}

/** Masks every address that a text quotes, such as the message of somebody else's error, and nothing else of it. */
export function maskSecretsIn(text: string): string {
  return text.replace(addressInText, maskSecrets)
}

import { existsSync, readFileSync } from 'node:fs'

/** What a process has written into a file line by line, also one that was killed: `<what> <words>`. */
export function journalOf(path: string, what: string): string[] {
  const lines = existsSync(path) ? readFileSync(path, 'utf8').split('\n') : []
  // The last one may be on its way.
  return lines
    .slice(0, -1)
    .flatMap((line) => (line.startsWith(`${what} `) ? [line.slice(what.length + 1)] : []))
}

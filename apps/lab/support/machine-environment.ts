/**
 * The environment of this machine as it was before a script of this workspace put its own Node first on the
 * PATH. npm looks for its global config beside the Node that runs it: with our Node it would miss what the
 * machine's npm knows, such as the certificates of its registry.
 */
import { delimiter, sep } from 'node:path'

export function machineEnvironment(): NodeJS.ProcessEnv {
  const folders = (process.env['PATH'] ?? '').split(delimiter)
  const own = folders.filter((folder) => !folder.split(sep).includes('node_modules'))
  return { ...process.env, PATH: own.join(delimiter) }
}

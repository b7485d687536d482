import { spawn } from 'node:child_process'
import { once } from 'node:events'

export interface RunOptions {
  readonly env: NodeJS.ProcessEnv
  readonly timeoutMs: number
  /** Default: no input. */
  readonly input?: string
}

/** Runs a command to its end. Returns its trimmed output, or throws with the output's tail. */
export async function run(command: string, args: readonly string[], options: RunOptions): Promise<string> {
  const { env, timeoutMs, input = '' } = options
  const child = spawn(command, args, { env, timeout: timeoutMs, stdio: 'pipe' })
  let output = ''
  let errors = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text))
  // A command that ends without reading its input breaks the pipe; its exit code says the rest.
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  await once(child, 'close')
  // Some end well when they are told to: an Erlang does, and says nothing of what it was to say.
  const isLate = child.killed
  if (child.exitCode === 0 && !isLate) return output.trim()
  const end = `${child.signalCode ?? `code ${child.exitCode}`}${isLate ? ` (allowed: ${timeoutMs} ms)` : ''}`
  throw new Error(`${command} ${args[0] ?? ''} ended with ${end}: ${(output + errors).trim().slice(-500)}`)
}

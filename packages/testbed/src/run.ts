import { spawn } from 'node:child_process'
import { once } from 'node:events'

export interface RunOptions {
  readonly env: NodeJS.ProcessEnv
  readonly timeoutMs: number
}

/** Runs a command to its end, with no input. Returns its trimmed output, or throws with the output's tail. */
export async function run(command: string, args: readonly string[], options: RunOptions): Promise<string> {
  const { env, timeoutMs } = options
  const child = spawn(command, args, { env, timeout: timeoutMs, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  let errors = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text))
  await once(child, 'close')
  if (child.exitCode === 0) return output.trim()
  const end = child.signalCode ? `${child.signalCode} (allowed: ${timeoutMs} ms)` : `code ${child.exitCode}`
  throw new Error(`${command} ${args[0] ?? ''} ended with ${end}: ${(output + errors).trim().slice(-500)}`)
}

/** Runs another program to its end, within a deadline, and keeps what it said. */
import { execFile } from 'node:child_process'

type Outcome = { exitCode: number; stdout: string; stderr: string }
type RunOptions = { cwd: string; env: NodeJS.ProcessEnv; deadlineMs?: number }

/** Resolves whatever the exit code; rejects when the program cannot start or still runs at the deadline. */
export function tryRun(command: string, args: string[], options: RunOptions): Promise<Outcome> {
  const { cwd, env, deadlineMs = 60_000 } = options
  const limits = { timeout: deadlineMs, killSignal: 'SIGKILL', maxBuffer: 64 * 1024 * 1024 } as const
  return new Promise((resolve, reject) => {
    const child = execFile(command, args, { cwd, env, ...limits }, (error, stdout, stderr) => {
      if (error === null) return resolve({ exitCode: 0, stdout, stderr })
      if (typeof error.code === 'number') return resolve({ exitCode: error.code, stdout, stderr })
      const reason = error.killed ? `still ran after ${deadlineMs} ms` : error.message
      reject(new Error(`${[command, ...args].join(' ')}: ${reason}\n${stdout}\n${stderr}`, { cause: error }))
    })
    // Nobody types here: a program that asks a question gets "end of input", not a wait until the deadline.
    child.stdin?.end()
  })
}

/** As `tryRun`, but any exit code other than 0 is an error that shows the output. Returns stdout. */
export async function run(command: string, args: string[], options: RunOptions): Promise<string> {
  const { exitCode, stdout, stderr } = await tryRun(command, args, options)
  if (exitCode === 0) return stdout
  throw new Error(
    `${[command, ...args].join(' ')} in ${options.cwd}: exit code ${exitCode}\n${stdout}\n${stderr}`,
  )
}

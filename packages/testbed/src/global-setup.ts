import { delimiter, dirname } from 'node:path'
import type { TestProject } from 'vitest/node'
import { findServer, type ServerCommand, serverCommands } from './find-server.ts'
import { sweepPortClaims } from './ports.ts'
import { serversAvailable } from './servers-available.ts'
import { sweepTemporaryFolders } from './temp-folder.ts'

// An environment variable, because vitest loads this module once per project.
const doneVariable = 'MULTINODE_TEST_SETUP_PID'

/** Vitest's global setup: makes sure that the servers are here before any test file starts one. */
export default async function setup(project: TestProject): Promise<() => void> {
  if (!serversAvailable()) return () => say(`MULTINODE_TEST_SKIP_SERVERS=1 ${skippedFiles(project)}`)
  if (process.env[doneVariable] === String(process.pid)) return () => {}
  sweepTemporaryFolders()
  sweepPortClaims()
  for (const command of serverCommands) await provide(command)
  process.env[doneVariable] = String(process.pid)
  return () => {}
}

async function provide(command: ServerCommand): Promise<void> {
  const { path, source } = await findServer(command)
  const asked = process.env['MULTINODE_TEST_BIN']
  const missed = asked && source !== 'MULTINODE_TEST_BIN' ? `, as MULTINODE_TEST_BIN=${asked} has none` : ''
  say(`${command} is ${path} (${source}${missed})`)
  // The test processes inherit PATH, and so find the very same, even a copy out of Docker.
  process.env['PATH'] = [process.env['PATH'], dirname(path)].filter(Boolean).join(delimiter)
}

function skippedFiles(project: TestProject): string {
  const files = project.vitest.state
    .getTestModules()
    .filter((module) => module.project.name === project.name && module.state() === 'skipped')
    .map((module) => `\n  ${module.relativeModuleId}`)
  return `- not tested: ${serverCommands.join(', ')}; in project ${project.name} these files:${files.join('')}`
}

function say(line: string): void {
  process.stderr.write(`testbed: ${line}\n`)
}

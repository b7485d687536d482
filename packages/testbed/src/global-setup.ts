import { delimiter, dirname } from 'node:path'
import type { TestProject } from 'vitest/node'
import { findProgram, neededPrograms, type ProgramName } from './find-program.ts'
import { sweepClocks } from './movable-clock.ts'
import { sweepPortClaims } from './ports.ts'
import { serversAvailable } from './servers-available.ts'
import { sweepTemporaryFolders } from './temp-folder.ts'

// An environment variable, because vitest loads this module once per project.
const doneVariable = 'MULTINODE_TEST_SETUP_PID'

/** Vitest's global setup: makes sure that all programs are here before any test file starts one. */
export default async function setup(project: TestProject): Promise<() => void> {
  if (!serversAvailable()) return () => say(`MULTINODE_TEST_SKIP_SERVERS=1 ${skippedFiles(project)}`)
  if (process.env[doneVariable] === String(process.pid)) return () => {}
  sweepTemporaryFolders()
  sweepPortClaims()
  sweepClocks()
  for (const name of neededPrograms) await provide(name)
  process.env[doneVariable] = String(process.pid)
  return () => {}
}

async function provide(name: ProgramName): Promise<void> {
  const { path, source, isLibrary } = await findProgram(name)
  const asked = process.env['MULTINODE_TEST_BIN']
  const missed = asked && source !== 'MULTINODE_TEST_BIN' ? `, as MULTINODE_TEST_BIN=${asked} has none` : ''
  say(`${name} is ${path} (${source}${missed})`)
  if (isLibrary) return
  // The test processes inherit PATH, and so find the very same, even a copy out of Docker.
  process.env['PATH'] = [process.env['PATH'], dirname(path)].filter(Boolean).join(delimiter)
}

function skippedFiles(project: TestProject): string {
  const files = project.vitest.state
    .getTestModules()
    .filter((module) => module.project.name === project.name && module.state() === 'skipped')
    .map((module) => `\n  ${module.relativeModuleId}`)
  return `- not tested: ${neededPrograms.join(', ')}; in project ${project.name} these files:${files.join('')}`
}

function say(line: string): void {
  process.stderr.write(`testbed: ${line}\n`)
}

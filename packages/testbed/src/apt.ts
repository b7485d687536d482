import { rmSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { claim } from './claim.ts'
import { type Host, lookForProgram, lookOnPath, type Program, searchFolders } from './host.ts'
import { onExit } from './on-exit.ts'
import { run } from './run.ts'
import { testbedFolder } from './temp-folder.ts'
import { waitUntil } from './wait-until.ts'

/** Of a download, so that a mirror may fail for once. */
const retries = ['-o', 'Acquire::Retries=3']

/** Installs the program's package; two runs at once install it once. */
export async function findByApt(program: Program, host: Host): Promise<string> {
  if (host.env['MULTINODE_TEST_INSTALL'] === 'no') throw new Error('forbidden by MULTINODE_TEST_INSTALL=no')
  const aptGet = lookOnPath('apt-get', host)
  if (!aptGet) throw new Error('no apt-get: this is not a Debian-like system')
  if (!host.isRoot) throw new Error('only root may install packages')
  const lock = join(testbedFolder(), 'apt')
  const release = await waitUntil('another test run to finish its apt-get', () => claim(lock), {
    deadlineMs: 1_500_000,
    everyMs: 200,
  })
  try {
    if (!lookForProgram(program, host)) await install(aptGet, program, host)
  } finally {
    release()
  }
  const path = lookForProgram(program, host)
  if (!path) throw new Error(`the package ${program.aptPackage} brought no ${program.command}`)
  return path
}

async function install(aptGet: string, { command, aptPackage }: Program, host: Host): Promise<void> {
  const flags = ['-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=120', ...retries]
  const env = {
    ...host.env,
    // dpkg refuses to work when PATH lacks the sbin folders, as it does after a plain `su`.
    PATH: searchFolders(host).join(delimiter),
    DEBIAN_FRONTEND: 'noninteractive',
    // For `isLocked`.
    LC_ALL: 'C',
  }
  host.announce(
    `${command} is missing: apt-get update; apt-get install ${flags.slice(0, 2).join(' ')} ${aptPackage}`,
  )
  const allowServices = denyServices(host.servicePolicyFile)
  try {
    await update(aptGet, env)
    await run(aptGet, ['install', ...flags, aptPackage], { env, timeoutMs: 600_000 })
  } finally {
    allowServices()
  }
}

/** Waits for another apt-get, as a machine that has just started runs one by itself: install waits for its own lock, update does not. */
async function update(aptGet: string, env: NodeJS.ProcessEnv): Promise<void> {
  const attempt = async (): Promise<{ readonly error?: unknown } | undefined> => {
    try {
      await run(aptGet, ['update', ...retries], { env, timeoutMs: 300_000 })
      return {}
    } catch (error) {
      return isLocked(error) ? undefined : { error }
    }
  }
  const { error } = await waitUntil('another apt-get to end its update', attempt, {
    deadlineMs: 600_000,
    everyMs: 500,
  })
  if (error !== undefined) throw error
}

function isLocked(error: unknown): boolean {
  return error instanceof Error && error.message.includes('Could not get lock')
}

/** Keeps Debian from starting the package's own service while it is installed. */
function denyServices(policyFile: string): () => void {
  try {
    writeFileSync(policyFile, '#!/bin/sh\nexit 101\n', { mode: 0o755, flag: 'wx' })
  } catch (error) {
    // Somebody's own policy stands, and it is not ours to replace.
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return () => {}
    throw error
  }
  const allow = () => rmSync(policyFile, { force: true })
  const forget = onExit(allow)
  return () => {
    forget()
    allow()
  }
}

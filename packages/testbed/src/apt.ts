import { rmSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { claim } from './claim.ts'
import { type Host, lookForProgram, lookOnPath, type Program, searchFolders } from './host.ts'
import { onExit } from './on-exit.ts'
import { run } from './run.ts'
import { testbedFolder } from './temp-folder.ts'
import { waitUntil } from './wait-until.ts'

/** Installs the program's package; two runs at once install it once. */
export async function findByApt(program: Program, host: Host): Promise<string> {
  if (host.env['MULTINODE_TEST_INSTALL'] === 'no') throw new Error('forbidden by MULTINODE_TEST_INSTALL=no')
  const aptGet = lookOnPath('apt-get', host)
  if (!aptGet) throw new Error('no apt-get: this is not a Debian-like system')
  if (!host.isRoot) throw new Error('only root may install packages')
  const lock = join(testbedFolder(), 'apt')
  const release = await waitUntil('another test run to finish its apt-get', () => claim(lock), {
    deadlineMs: 300_000,
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
  const flags = ['-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=120']
  // dpkg refuses to work when PATH lacks the sbin folders, as it does after a plain `su`.
  const env = { ...host.env, PATH: searchFolders(host).join(delimiter), DEBIAN_FRONTEND: 'noninteractive' }
  host.announce(
    `${command} is missing: apt-get update; apt-get install ${flags.slice(0, 2).join(' ')} ${aptPackage}`,
  )
  const allowServices = denyServices(host.servicePolicyFile)
  try {
    await run(aptGet, ['update'], { env, timeoutMs: 120_000 })
    await run(aptGet, ['install', ...flags, aptPackage], { env, timeoutMs: 300_000 })
  } finally {
    allowServices()
  }
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

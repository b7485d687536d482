import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { findProgram } from '../src/find-program.ts'
import type { Host } from '../src/host.ts'
import { type TemporaryFolder, temporaryFolder } from '../src/index.ts'

let root: TemporaryFolder
let announced: string[]

beforeEach(() => {
  root = temporaryFolder('find')
  announced = []
})

afterEach(() => {
  root.remove()
})

function host(env: Record<string, string>, isRoot = false): Host {
  return {
    env: { PATH: folder('path'), ...env },
    usualFolders: [folder('sbin'), folder('lib')],
    wrapperFolders: [folder('sbin')],
    isRoot,
    servicePolicyFile: join(root.path, 'policy'),
    announce: (line) => announced.push(line),
  }
}

function folder(name: string): string {
  const path = join(root.path, name)
  mkdirSync(path, { recursive: true })
  return path
}

function script(folderName: string, name: string, ...lines: string[]): string {
  const path = join(folder(folderName), name)
  writeFileSync(path, ['#!/bin/sh', ...lines, ''].join('\n'), { mode: 0o755 })
  return path
}

/** Writes down what it was asked, and whether services were denied meanwhile; then brings redis-server. */
function fakeApt(): void {
  const { path } = root
  script(
    'path',
    'apt-get',
    `echo "$1 $DEBIAN_FRONTEND $([ -x ${path}/policy ] && echo denied)" >> ${path}/log`,
    `[ "$1" = update ] || { echo '#!/bin/sh' > ${path}/sbin/redis-server; /bin/chmod 755 ${path}/sbin/redis-server; }`,
  )
}

function fakeDocker(...versionLines: string[]): void {
  script(
    'path',
    'docker',
    `echo "$@" >> ${root.path}/log`,
    `case $1 in version) ${versionLines.join('; ')};; create) echo box;;`,
    `cp) echo '#!/bin/sh' > "$3"; /bin/chmod 755 "$3";; esac`,
  )
}

const log = () => readFileSync(join(root.path, 'log'), 'utf8').trim().split('\n')

it('takes the folder named by MULTINODE_TEST_BIN before PATH', async () => {
  script('path', 'redis-server')
  const path = script('own', 'redis-server')
  const found = await findProgram('redis-server', host({ MULTINODE_TEST_BIN: folder('own') }))
  expect(found).toMatchObject({ command: 'redis-server', path, source: 'MULTINODE_TEST_BIN' })
})

it('takes PATH before the usual folders', async () => {
  script('sbin', 'redis-server')
  const path = script('path', 'redis-server')
  expect(await findProgram('redis-server', host({}))).toMatchObject({ path, source: 'PATH' })
})

it('looks in the usual folders when PATH lacks them', async () => {
  const path = script('sbin', 'redis-server')
  expect(await findProgram('redis-server', host({}))).toMatchObject({ path, source: 'PATH' })
})

it('overlooks a file that is not executable, and a folder of that name', async () => {
  writeFileSync(join(folder('own'), 'redis-server'), '', { mode: 0o644 })
  folder('path/redis-server')
  const path = script('sbin', 'redis-server')
  expect(await findProgram('redis-server', host({ MULTINODE_TEST_BIN: folder('own') }))).toMatchObject({
    path,
  })
})

it('overlooks the wrapper of a program that has one', async () => {
  script('sbin', 'rabbitmq-server')
  const path = script('lib', 'rabbitmq-server')
  expect(await findProgram('rabbitmq-server', host({}))).toMatchObject({ path, source: 'PATH' })
})

it('copies the binary out of the image when a Docker engine answers', async () => {
  fakeDocker('echo 27.0')
  const found = await findProgram('redis-server', host({}))
  expect(found.source).toBe('Docker')
  expect(existsSync(found.path)).toBe(true)
  expect(announced).toEqual(["redis-server is missing: copying it out of Docker's redis:7-bookworm"])
  expect(log()).toEqual([
    'version --format {{.Server.Version}}',
    'create redis:7-bookworm',
    `cp box:/usr/local/bin/redis-server ${found.path}`,
    'rm --force box',
  ])
})

it('installs with apt as root, announced, with services denied meanwhile', async () => {
  fakeDocker('echo no engine >&2', 'exit 1')
  fakeApt()
  const found = await findProgram('redis-server', host({}, true))
  expect(found).toMatchObject({ path: join(root.path, 'sbin/redis-server'), source: 'apt' })
  expect(log().slice(1)).toEqual(['update noninteractive denied', 'install noninteractive denied'])
  expect(announced).toEqual([
    'redis-server is missing: apt-get update; apt-get install -y --no-install-recommends redis-server',
  ])
  expect(existsSync(join(root.path, 'policy'))).toBe(false)
})

it('leaves a service policy alone that was there before', async () => {
  fakeApt()
  const policy = script('.', 'policy')
  await findProgram('redis-server', host({}, true))
  expect(existsSync(policy)).toBe(true)
})

it('installs once when two runs want it at the same time', async () => {
  fakeApt()
  const both = await Promise.all([1, 2].map(() => findProgram('redis-server', host({}, true))))
  expect(both.map(({ source }) => source)).toEqual(['apt', 'apt'])
  expect(log()).toHaveLength(2)
})

it('gives the reason of each way and the ways out when nothing is possible', async () => {
  fakeDocker('echo no engine >&2', 'exit 1')
  fakeApt()
  await expect(findProgram('redis-server', host({ MULTINODE_TEST_BIN: '/nowhere' }))).rejects.toThrow(
    `redis-server was not found, and the tests need it. Looked at:
  MULTINODE_TEST_BIN: no redis-server in /nowhere
  PATH: not there, nor in the usual folders
  Docker: ${root.path}/path/docker version ended with code 1: no engine
  apt: only root may install packages
Do one of these:
  install it, so that redis-server is on PATH (apt-get install redis-server)
  name a folder that holds it: MULTINODE_TEST_BIN=<folder>
  start a Docker engine
Or leave out the tests that need it: MULTINODE_TEST_SKIP_SERVERS=1`,
  )
})

it('does not install when MULTINODE_TEST_INSTALL=no', async () => {
  fakeApt()
  await expect(findProgram('redis-server', host({ MULTINODE_TEST_INSTALL: 'no' }, true))).rejects.toThrow(
    'apt: forbidden by MULTINODE_TEST_INSTALL=no',
  )
  expect(existsSync(join(root.path, 'log'))).toBe(false)
})

it('says so when there is neither docker nor apt', async () => {
  await expect(findProgram('redis-server', host({}, true))).rejects.toThrow(
    /Docker: no docker on PATH\n {2}apt: no apt-get: this is not a Debian-like system/,
  )
})

it('shows the end of what apt-get said when it fails', async () => {
  script('path', 'apt-get', 'echo E: unable to locate package >&2', 'exit 100')
  await expect(findProgram('redis-server', host({}, true))).rejects.toThrow(
    /apt-get update ended with code 100: E: unable to locate package/,
  )
})

it('waits for another apt-get that updates the lists', async () => {
  fakeApt()
  const { path } = root
  const works = readFileSync(join(folder('path'), 'apt-get'), 'utf8').replace('#!/bin/sh\n', '')
  script(
    'path',
    'apt-get',
    `[ "$1" = update ] && [ ! -e ${path}/tried ] && { : > ${path}/tried; echo E: Could not get lock /var/lib/apt/lists/lock >&2; exit 100; }`,
    works,
  )
  expect(await findProgram('redis-server', host({}, true))).toMatchObject({ source: 'apt' })
  expect(log().map((line) => line.split(' ')[0])).toEqual(['update', 'install'])
})

it('finds a library that is not executable, and names its file in the ways out', async () => {
  await expect(findProgram('libfaketime', host({}))).rejects.toThrow(
    `  Docker: no official image has it as one file
  apt: no apt-get: this is not a Debian-like system
Do one of these:
  install it (apt-get install libfaketime)
  name a folder that holds libfaketimeMT.so.1: MULTINODE_TEST_BIN=<folder>
Or leave out the tests that need it: MULTINODE_TEST_SKIP_SERVERS=1`,
  )
  const path = join(folder('own'), 'libfaketimeMT.so.1')
  writeFileSync(path, '', { mode: 0o644 })
  const found = await findProgram('libfaketime', host({ MULTINODE_TEST_BIN: folder('own') }))
  expect(found).toMatchObject({ path, source: 'MULTINODE_TEST_BIN' })
})

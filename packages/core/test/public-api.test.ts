import { expect, test } from 'vitest'
import * as core from '../src/index.ts'
import * as testing from '../src/testing/index.ts'

test('@multinode/core exports this and nothing else', () => {
  expect(Object.keys(core).sort()).toEqual([
    'Cache',
    'Deadlines',
    'Lease',
    'Locks',
    'MultinodeError',
    'PubSub',
    'Queues',
    'RetryLater',
    'UnrecoverableJobError',
    'WorkerIds',
    'bloomOffsets',
    'bloomShape',
    'capabilityNames',
    'checkCount',
    'checkKnownOptions',
    'checkMs',
    'createCluster',
    'isMultinodeError',
    'maskSecrets',
    'mostBloomBits',
    'pause',
    'pluginApi',
    'withDeadline',
  ])
})

test('@multinode/core/testing exports this and nothing else', () => {
  expect(Object.keys(testing).sort()).toEqual([
    'ManualClock',
    'capabilityContext',
    'memoryBusOf',
    'memoryCache',
    'memoryLock',
    'memoryPubSub',
    'memoryQueue',
    'memoryWorkerIds',
    'pluginContext',
  ])
})

test('importing core starts nothing: no timer, no handle, no listener', async () => {
  const { PlainNode, sourceUrl } = await import('./support/plain-node.ts')
  const script = `await import('${sourceUrl('index.ts')}')
    console.log(JSON.stringify([process.getActiveResourcesInfo().filter((name) => !/Pipe|TTY|FS/.test(name)),
      process.eventNames().filter((name) => /^SIG|exit|uncaught|unhandled/i.test(String(name)))]))`
  const { stdout, stderr } = await new PlainNode(['--input-type=module', '--eval', script]).ended
  expect({ stdout, stderr }).toEqual({ stdout: '[[],[]]\n', stderr: '' })
})

import { expect, test } from 'vitest'
import { unsupported } from '../../src/errors/unsupported.ts'
import { capabilityContext } from '../../src/testing/index.ts'

test.each([
  ['a semaphore', 'semaphore'],
  ['an index', 'index'],
  ['scheduled jobs', 'scheduled jobs'],
  ['anagrams', 'anagrams'],
])('what a backend lacks is named in a sentence: %s', (what, named) => {
  expect(unsupported(capabilityContext('lock', 'acme'), what)).toMatchObject({
    name: 'MultinodeError',
    code: 'UNSUPPORTED',
    retryable: false,
    capability: 'lock',
    backend: 'acme',
    message: `lock on acme has no ${named}: choose an adapter that has it.`,
  })
})

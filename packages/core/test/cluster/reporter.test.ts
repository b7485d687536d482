import { describe, expect, test } from 'vitest'
import { Reporter } from '../../src/cluster/reporter.ts'
import { MultinodeError } from '../../src/index.ts'
import { turn } from '../support/outcome.ts'
import { Warnings } from '../support/warnings.ts'

const trouble = new MultinodeError('UNAVAILABLE', 'gone')

describe('Reporter', () => {
  test('tells every listener, and then no warning is emitted', async () => {
    using warnings = new Warnings()
    const reporter = new Reporter()
    const heard: unknown[] = []
    reporter.on((error) => heard.push(['one', error]))
    reporter.on((error) => heard.push(['two', error]))
    reporter.report(trouble)
    expect(heard).toEqual([
      ['one', trouble],
      ['two', trouble],
    ])
    expect(await warnings.messages()).toEqual([])
  })

  test('without a listener, or after the last one left, it becomes a warning of the process', async () => {
    using warnings = new Warnings()
    const reporter = new Reporter()
    const listener = (): void => {}
    reporter.report(trouble)
    reporter.on(listener)
    reporter.off(listener)
    reporter.report(trouble)
    expect(await warnings.messages()).toEqual(['UNAVAILABLE: gone', 'UNAVAILABLE: gone'])
  })

  test.each<readonly [string, unknown]>([
    ['an error', new Error('why')],
    ['text', 'why'],
    ['nothing', undefined],
    ['an object without a text form', Object.create(null)],
  ])('wraps %s that is not typed, with its cause', (_, cause) => {
    const reporter = new Reporter()
    const heard: MultinodeError[] = []
    reporter.on((error) => heard.push(error))
    reporter.report(cause)
    expect(heard).toHaveLength(1)
    expect(heard[0]).toMatchObject({ code: 'INTERNAL', name: 'MultinodeError' })
    expect(heard[0]).toHaveProperty('cause', cause)
  })

  test.each<readonly [string, () => void]>([
    [
      'throws',
      () => {
        throw new Error('listener at redis://:hunter2@db')
      },
    ],
    ['rejects', () => Promise.reject(new Error('listener at redis://:hunter2@db'))],
  ])('a listener that %s is contained: the others hear it, and there is a warning', async (_, bad) => {
    using warnings = new Warnings()
    const reporter = new Reporter()
    const heard: unknown[] = []
    reporter.on(bad)
    reporter.on((error) => heard.push(error))
    expect(() => reporter.report(trouble)).not.toThrow()
    await turn()
    expect(heard).toEqual([trouble])
    expect(await warnings.messages()).toEqual(['An error listener failed: listener at redis://:***@db'])
  })
})

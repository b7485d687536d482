import { describe, expect, test } from 'vitest'
import { systemClock } from '../../src/runtime/clock.ts'
import { checkVerbs, type Driver } from '../../src/registry/driver.ts'
import { SteeredLock } from '../support/steered-lock.ts'

const whole: Driver = new SteeredLock(systemClock).driver
const origin = { capability: 'lock', backend: 'acme' }

function check(changes: object): () => void {
  return () => checkVerbs({ ...whole, ...changes }, [], origin)
}

describe('checkVerbs', () => {
  test('accepts a driver that has everything', () => {
    expect(check({})).not.toThrow()
    expect(check({ address: null })).not.toThrow()
  })

  test.each(['ping', 'close', 'features', 'address'])('refuses a driver without %s, by name', (missing) => {
    expect(check({ [missing]: undefined })).toThrow(
      expect.objectContaining({ code: 'MISCONFIGURED', ...origin }),
    )
    expect(check({ [missing]: undefined })).toThrow(`The driver for lock on acme lacks ${missing}:`)
  })

  test('names all that is missing', () => {
    expect(check({ ping: undefined, close: 'yes' })).toThrow('lacks ping, close:')
  })
})

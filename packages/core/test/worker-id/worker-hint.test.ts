import { describe, expect, test } from 'vitest'
import { hintFrom, type Place } from '../../src/worker-id/worker-hint.ts'

const nowhere: Place = { hostName: 'web', address: undefined }
const everything: Readonly<Record<string, string>> = {
  WORKER_ID: '1',
  TASK_SLOT: '2',
  POD_INDEX: '3',
  NODE_APP_INSTANCE: '5',
}
const place: Place = { hostName: 'web-4', address: '10.0.0.6' }

/** The hint when all that comes before `names` is missing. */
function hintOf(names: readonly string[], where = place, range = 32): number | undefined {
  return hintFrom((name) => (names.includes(name) ? everything[name] : undefined), range, where)
}

describe('the hint of the environment', () => {
  test('is the first that there is, in the documented order', () => {
    expect(hintOf(['WORKER_ID', 'TASK_SLOT', 'POD_INDEX', 'NODE_APP_INSTANCE'])).toBe(1)
    expect(hintOf(['TASK_SLOT', 'POD_INDEX', 'NODE_APP_INSTANCE'])).toBe(2)
    expect(hintOf(['POD_INDEX', 'NODE_APP_INSTANCE'])).toBe(3)
    expect(hintOf(['NODE_APP_INSTANCE'])).toBe(4)
    expect(hintOf(['NODE_APP_INSTANCE'], { ...place, hostName: 'web' })).toBe(5)
    expect(hintOf([], { ...place, hostName: 'web' })).toBe(6)
    expect(hintOf([], nowhere)).toBeUndefined()
  })

  test('is within the range', () => {
    expect(hintOf(['WORKER_ID'], place, 1)).toBe(0)
    expect(hintOf([], { hostName: 'web-70', address: undefined }, 32)).toBe(6)
    expect(hintOf([], { hostName: 'web', address: '10.0.0.255' }, 32)).toBe(31)
  })

  test.each([
    ['web-1a', undefined],
    ['web1', undefined],
    ['-7', 7],
    ['web-0', 0],
    ['web-9007199254740993', undefined],
    ['ip-10-0-0-12', 12],
  ])('of the host name %s is %s', (hostName, hint) => {
    expect(hintOf([], { hostName, address: undefined })).toBe(hint)
  })

  test.each(['', 'x', '1.5', '-1', '0x1f', ' 1', '1e3'])('passes over a TASK_SLOT of %j', (slot) => {
    const env = (name: string): string | undefined => (name === 'TASK_SLOT' ? slot : undefined)
    expect(hintFrom(env, 32, { hostName: 'web-4', address: undefined })).toBe(4)
  })

  test.each(['x', '1.5', '-1', '1e3', 'x'.repeat(100)])(
    'refuses a WORKER_ID of %j, and shows no more than 80 characters of it',
    (id) => {
      expect(() => hintFrom(() => id, 32, nowhere)).toThrow(
        expect.objectContaining({
          code: 'MISCONFIGURED',
          message: expect.stringContaining(
            `WORKER_ID is ${JSON.stringify(id.slice(0, 80))}; it must be a whole number from 0`,
          ),
          details: { variable: 'WORKER_ID' },
        }),
      )
    },
  )

  test('of this machine is a whole number within the range, or none', () => {
    const hint = hintFrom(() => undefined, 32) ?? 0
    expect(Number.isInteger(hint) && hint >= 0 && hint < 32).toBe(true)
  })
})

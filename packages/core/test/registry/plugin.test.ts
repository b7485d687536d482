import { describe, expect, test } from 'vitest'
import { checkPlugin, type Plugin, pluginApi } from '../../src/registry/plugin.ts'

const plugin: Plugin = {
  kind: 'multinode-plugin',
  api: pluginApi,
  capability: 'lock',
  backend: 'acme',
  options: {},
  create: () => Promise.reject(new Error('is only checked here')),
}

describe('checkPlugin', () => {
  test('gives the plugin back', () => {
    expect(checkPlugin(plugin, 'x')).toBe(plugin)
    expect(checkPlugin(plugin, 'x', 'lock')).toBe(plugin)
  })

  test('accepts an instance of a class, whose create is on its prototype', () => {
    class AcmePlugin implements Plugin {
      readonly kind = 'multinode-plugin'
      readonly api = pluginApi
      readonly capability = 'lock'
      readonly backend = 'acme'
      readonly options = {}

      create(): Promise<never> {
        return Promise.reject(new Error('is only checked here'))
      }
    }
    const instance = new AcmePlugin()
    expect(checkPlugin(instance, 'x')).toBe(instance)
  })

  test.each<readonly [string, unknown]>([
    ['undefined', undefined],
    ['a function', () => plugin],
    ['another kind', { ...plugin, kind: 'plugin' }],
    ['no api', { ...plugin, api: undefined, kind: undefined }],
    ['an unknown capability', { ...plugin, capability: 'mutex' }],
    ['a backend in capitals', { ...plugin, backend: 'Redis' }],
    ['a backend that makes no variable name', { ...plugin, backend: 'my-redis' }],
    ['an empty backend', { ...plugin, backend: '' }],
    ['options that are no plain object', { ...plugin, options: [] }],
    ['no create', { ...plugin, create: undefined }],
  ])('refuses %s', (_, value) => {
    expect(() => checkPlugin(value, 'plugins[1]')).toThrow(
      expect.objectContaining({ code: 'MISCONFIGURED', details: { from: 'plugins[1]' } }),
    )
    expect(() => checkPlugin(value, 'plugins[1]')).toThrow('plugins[1] is no multinode plugin')
  })

  test.each([0, 2, '1', undefined])(
    'refuses version %j of the contract, and says which this core speaks',
    (api) => {
      expect(() => checkPlugin({ ...plugin, api }, '@acme/lock')).toThrow(
        `@acme/lock speaks version ${String(api)} of the driver contract, this @multinode/core speaks 1`,
      )
    },
  )

  test('refuses one of another capability', () => {
    expect(() => checkPlugin(plugin, '@acme/lock', 'cache')).toThrow(
      '@acme/lock is a plugin for lock, not for cache',
    )
  })
})

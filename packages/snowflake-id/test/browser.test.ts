import { fileURLToPath } from 'node:url'
import { createContext, runInContext } from 'node:vm'
import { rolldown } from 'rolldown'
import { beforeAll, expect, it } from 'vitest'

const input = fileURLToPath(new URL('../src/index.ts', import.meta.url))
let code = ''

beforeAll(async () => {
  const bundle = await rolldown({ input, platform: 'browser' })
  try {
    const { output } = await bundle.generate({ format: 'iife', name: 'snowflake', minify: true })
    code = output[0].code
  } finally {
    await bundle.close()
  }
})

/** Where there is only the language, and what is given. */
function runBare(program: string, given: Record<string, unknown> = {}): unknown {
  const context = createContext(given)
  runInContext(code, context)
  return runInContext(program, context)
}

it('a bundle for browsers imports nothing and knows nothing of Node', () => {
  expect(code).not.toMatch(/\brequire\s*\(|\bimport\s*[({'"]|\bprocess\b|\bBuffer\b/)
  expect(runBare('typeof process + typeof Buffer + typeof setTimeout')).toBe('undefined'.repeat(3))
})

it('a bundle for browsers makes and reads ids in all outputs', () => {
  const program = `
    ['number', 'bigint', 'string', 'crockford13', 'base62'].map((output) => {
      const ids = snowflake.createSnowflake({ worker: 7, output })
      const id = ids.generate()
      const many = ids.generateMany(1000)
      return typeof id + ids.decode(id).workerId + (many[0] > id) + many.length
    }).join()`
  expect(runBare(program)).toBe(
    ['number', 'bigint', 'string', 'string', 'string'].map((type) => `${type}7true1000`).join(),
  )
})

it('a bundle for browsers waits with the timers of a browser, which are numbers', async () => {
  const timers = new Map<number, NodeJS.Timeout>()
  const given = {
    performance,
    AbortSignal,
    setTimeout: (run: () => void, ms: number): number => {
      timers.set(timers.size + 1, setTimeout(run, ms))
      return timers.size
    },
    clearTimeout: (id: number) => clearTimeout(timers.get(id)),
  }
  const program = `
    const ids = snowflake.createSnowflake({ worker: 7, maxAheadMs: 0 })
    Promise.all(Array.from({ length: 1000 }, () => ids.generateAsync())).then((made) => new Set(made).size)`
  expect(await runBare(program, given)).toBe(1000)
  expect(timers.size).toBeGreaterThan(0)
})

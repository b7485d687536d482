import { expect, it } from 'vitest'
import { run } from '../src/run.ts'

const env = { PATH: process.env['PATH'] }

it('returns what the command says', async () => {
  expect(await run('sh', ['-c', 'cat'], { env, timeoutMs: 30_000, input: 'said\n' })).toBe('said')
})

it('throws what it said, when it fails', async () => {
  const failing = run('sh', ['-c', 'echo no >&2; exit 3'], { env, timeoutMs: 30_000 })
  await expect(failing).rejects.toThrow('sh -c ended with code 3: no')
})

it('throws when the command took too long, also when it then ends well', async () => {
  const late = run('sh', ['-c', 'trap "exit 0" TERM; while :; do sleep 0.05; done'], { env, timeoutMs: 300 })
  await expect(late).rejects.toThrow('(allowed: 300 ms)')
})

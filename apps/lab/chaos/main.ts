/**
 * `pnpm chaos [capability] [<argument of vitest>...]` runs the integration tests of the packages of a capability, or of all, and its
 * simulation in core, with their full figures instead of the slices that `npm test` runs. Can take an hour.
 */
import { spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'
import { resolve } from 'node:path'

const root = resolve(import.meta.dirname, '../../..')
const vitest = resolve(root, 'node_modules/vitest/vitest.mjs')
const [capability = '', ...vitestArguments] = process.argv.slice(2)

const folders = globSync(`packages/${capability}*-{redis,rabbitmq,id}`, { cwd: root })
if (folders.length === 0) {
  process.stderr.write(`No package serves ${JSON.stringify(capability)}: name a capability, such as lock.\n`)
  process.exitCode = 1
} else {
  const simulations = globSync(`packages/core/test/${capability || '*'}/simulation.test.ts`, { cwd: root })
  process.stdout.write(`chaos: full figures of ${folders.join(', ')}\n`)
  const { status, error } = spawnSync(
    process.execPath,
    [
      vitest,
      'run',
      '--project',
      'integration',
      '--project',
      'unit',
      ...folders,
      ...simulations,
      ...vitestArguments,
    ],
    { cwd: root, env: { ...process.env, MULTINODE_CHAOS: 'full' }, stdio: 'inherit' },
  )
  if (error) throw error
  process.exitCode = status ?? 1
}

import { isMultinodeError } from '../../src/index.ts'
import { chooseAdapter } from '../../src/registry/choose-adapter.ts'
import { loadPlugin } from '../../src/registry/load-plugin.ts'
import { toFolder } from '../../src/registry/resolve-module.ts'
import { Variables } from '../../src/registry/variables.ts'

// Without the test runner, whose own way of importing CommonJS differs from Node's. Arguments: where packages are
// resolved from, then values of LOCK_ADAPTER; prints what became of each.
const [resolveFrom = '', ...adapters] = process.argv.slice(2)

async function attempt(adapter: string): Promise<object> {
  const choice = chooseAdapter('lock', {
    variables: new Variables({ LOCK_ADAPTER: adapter }),
    plugins: [],
    isInstalled: () => false,
  })
  try {
    const { plugin, from } = await loadPlugin(choice, toFolder(resolveFrom), ['memory', 'code'])
    return { adapter, backend: plugin.backend, from }
  } catch (error) {
    if (!isMultinodeError(error)) throw error
    return { adapter, code: error.code, message: error.message, hasCause: error.cause instanceof Error }
  }
}

const results: object[] = []
for (const adapter of adapters) results.push(await attempt(adapter))
process.stdout.write(JSON.stringify(results))

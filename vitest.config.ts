import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

const withServers = { globalSetup: ['packages/testbed/src/global-setup.ts'], hookTimeout: 60_000 }

export default defineConfig({
  test: {
    // Most tests wait for servers: with three workers, a machine with two cores was idle for a fifth of the time.
    maxWorkers: Math.max(4, availableParallelism() - 1),
    // Against hanging, with room for a busy machine: a test that starts a process takes a second where nothing else runs.
    testTimeout: 20_000,
    coverage: { provider: 'v8', include: ['packages/*/src/**'], reporter: ['text', 'json-summary'] },
    projects: [
      // No servers: runs anywhere in seconds.
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['packages/*/test/**/*.test.ts', 'apps/lab/repo/**/*.test.ts'],
          exclude: ['**/*.integration.test.ts'],
          // Files share a process: a fresh one for each costs more than all the tests in it.
          isolate: false,
        },
      },
      // Real servers: every adapter runs its conformance suite here.
      {
        extends: true,
        test: {
          ...withServers,
          name: 'integration',
          include: ['packages/*/test/**/*.integration.test.ts', 'apps/demo/test/**/*.test.ts'],
        },
      },
      // Publish to a local registry, install into an empty host, run it.
      {
        extends: true,
        test: {
          ...withServers,
          name: 'e2e',
          include: ['apps/lab/e2e/**/*.test.ts'],
          testTimeout: 120_000,
          fileParallelism: false,
        },
      },
    ],
  },
})

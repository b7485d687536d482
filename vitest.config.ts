import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

/** Most of what they take is to start RabbitMQ and processes, which starves all tests beside them that look at the clock: only with the full figures (`pnpm chaos`), or in slices with `MULTINODE_CHAOS=slice`. */
const onlyFull = [
  'packages/pubsub-rabbitmq/test/{restarts,three-servers}.integration.test.ts',
  'packages/queue-rabbitmq/test/{broken-connections,closing,dead-*,delays,outages,poison,redrives,refused-adds,restarts,taking-jobs,three-servers}.integration.test.ts',
]
const isChaos = process.env['MULTINODE_CHAOS'] !== undefined
const withServers = { globalSetup: ['packages/testbed/src/global-setup.ts'], hookTimeout: 150_000 }

export default defineConfig({
  test: {
    // Most tests wait for servers: with one worker a core, a machine with two cores would be idle for a third of the time. With four workers on it tests that look at the clock fail.
    maxWorkers: Math.max(3, availableParallelism() - 1),
    // Against hanging, with room for a busy machine: a test that starts a process takes a second where nothing else runs.
    testTimeout: 60_000,
    setupFiles: ['packages/testbed/src/test-setup.ts'],
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
          exclude: isChaos ? [] : onlyFull,
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

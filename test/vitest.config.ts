import { defineConfig } from 'vitest/config'

const IN_PARALLEL = {
  // Nothing here measures time, so one worker for each core, and not one less.
  maxWorkers: '100%',
  testTimeout: 60_000,
  sequence: { groupOrder: 0 }
} as const

/**
 * Two groups, one after the other: what is pure or simulated runs in parallel; what starts real processes has the
 * machine to itself, because two cores shared with other tests would make its deadlines lies. What runs in the simulated
 * world is a project of its own, for it is the same on every Node: `--project '!simulated'` is all the rest.
 */
export default defineConfig({
  root: new URL('..', import.meta.url).pathname,
  test: {
    reporters: ['default', ['json', { outputFile: '.artifacts/vitest.json' }]],
    projects: [
      {
        extends: true,
        test: {
          name: 'core',
          include: ['test/**/*.test.ts'],
          exclude: ['test/scenario/**', 'test/sim/**', 'test/e2e/**', 'test/package/**'],
          ...IN_PARALLEL
        }
      },
      {
        extends: true,
        test: {
          name: 'simulated',
          include: ['test/scenario/**/*.test.ts', 'test/sim/**/*.test.ts'],
          ...IN_PARALLEL
        }
      },
      {
        extends: true,
        test: {
          name: 'processes',
          include: ['test/e2e/**/*.test.ts', 'test/package/**/*.test.ts'],
          testTimeout: 180_000,
          hookTimeout: 180_000,
          fileParallelism: false,
          sequence: { groupOrder: 1 }
        }
      }
    ]
  }
})

import { defineConfig } from 'vitest/config'

/**
 * Two groups, one after the other: what is pure or simulated runs in parallel; what starts real processes has the
 * machine to itself, because two cores shared with other tests would make its deadlines lies.
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
          exclude: ['test/e2e/**', 'test/package/**'],
          // Nothing here measures time, so one worker for each core, and not one less.
          maxWorkers: '100%',
          testTimeout: 60_000,
          sequence: { groupOrder: 0 }
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

import { defineConfig } from 'vitest/config'

const IN_PARALLEL = {
  // Nothing here measures time, so one worker for each core, and not one less.
  maxWorkers: '100%',
  // A process and all imports anew for each file took more than a third of the processor time of `core`. So files share
  // what is loaded, and no test may leave it changed.
  isolate: false,
  restoreMocks: true,
  // Long: CI gives what only computes no more of the machine than others leave.
  testTimeout: 240_000,
  sequence: { groupOrder: 0 }
} as const

/** What changes what the whole process has loaded, or weighs it. */
const ALONE = ['test/property/{codec-values-without-native,byte-queue}.test.ts']
/** Long, and nothing but arithmetic on what we hold ourselves. */
const ARITHMETIC = [
  'test/property/{placement*,store,copies,budgets}.test.ts',
  'test/unit/store/churn.test.ts',
  'test/fuzz/**/*.test.ts'
]

/**
 * Two groups, one after the other: what is pure or simulated runs in parallel; what starts real processes has the
 * machine to itself, because two cores shared with other tests would make its deadlines lies. What runs in the simulated
 * world, and what is long arithmetic, are projects of their own, for they are the same on every Node: CI runs them once.
 */
export default defineConfig({
  root: new URL('..', import.meta.url).pathname,
  test: {
    reporters: ['default', ['json', { outputFile: process.env.VITEST_JSON ?? '.artifacts/vitest.json' }]],
    projects: [
      {
        extends: true,
        test: {
          name: 'core',
          include: ['test/**/*.test.ts'],
          exclude: ['test/scenario/**', 'test/sim/**', 'test/e2e/**', 'test/package/**', ...ALONE, ...ARITHMETIC],
          ...IN_PARALLEL
        }
      },
      {
        extends: true,
        test: { name: 'arithmetic', include: ARITHMETIC, ...IN_PARALLEL }
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
          include: ['test/e2e/**/*.test.ts', 'test/package/**/*.test.ts', ...ALONE],
          testTimeout: 180_000,
          hookTimeout: 180_000,
          fileParallelism: false,
          sequence: { groupOrder: 1 }
        }
      }
    ]
  }
})

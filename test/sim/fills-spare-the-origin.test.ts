/**
 * The origin is not worked for nobody: also a load that runs under a lease is aborted when its last waiter in the mesh
 * has gone, and not before. And an origin that has failed for a key is not asked for it again before its back-off is
 * over. Judged in stable views, so loads that run where no owner can be reached are not judged here.
 */
import { expect, it } from 'vitest'
import { runSeed } from './run.ts'

const SEEDS = 60

it('a load of a caller ends when the last waiter has gone, and not before', { timeout: 300_000 }, async () => {
  const knobs = { aborts: true, slowOrigin: true, failingOrigin: false, downOrigin: false, callerLoads: true }
  const found: string[] = []
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { violation } = await runSeed(seed, { knobs, fills: ['aborts'] })
    if (violation !== undefined) found.push(`seed ${seed}: ${violation.message}`)
  }
  console.log(`loads for nobody: found in ${found.length} of ${SEEDS} seeds`)
  expect(found).toEqual([])
})

it('a failed load is not followed by another before the back-off is over', { timeout: 300_000 }, async () => {
  const found: string[] = []
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { violation } = await runSeed(seed, { knobs: { failingOrigin: true }, fills: ['backoff'] })
    if (violation !== undefined) found.push(`seed ${seed}: ${violation.message}`)
  }
  console.log(`an origin that is not spared: found in ${found.length} of ${SEEDS} seeds`)
  expect(found).toEqual([])
})

/**
 * What a member reads from the machine it starts on: the host's name, the memory it may use, and signs of places where
 * a mesh is not wanted or cannot be.
 */
import { hostname, totalmem } from 'node:os'

/**
 * Where tests or builds run, and how that shows. Test runners start a process per file: they would all be one mesh, and
 * a test's data would come from another test.
 */
const SOLO_SIGNS = [
  ['VITEST', 'this runs under Vitest'],
  ['JEST_WORKER_ID', 'this runs under Jest'],
  ['NODE_TEST_CONTEXT', "this runs under Node's test runner"]
] as const

const CUT_OFF_SIGNS = [
  ['AWS_LAMBDA_FUNCTION_NAME', 'AWS Lambda'],
  ['VERCEL', 'Vercel'],
  ['K_SERVICE', 'Cloud Run']
] as const

export interface MachineFacts {
  readonly host: string
  readonly memoryBytes: number
  readonly soloBecause: string | undefined
  readonly cutOffBecause: string | undefined
}

export function machineFacts(env: NodeJS.ProcessEnv = process.env): MachineFacts {
  const isBuild = env.NEXT_PHASE === 'phase-production-build'
  return {
    host: hostname(),
    memoryBytes: memoryBytes(),
    soloBecause: isBuild ? 'this is a build of Next.js' : sign(SOLO_SIGNS, env),
    cutOffBecause: sign(CUT_OFF_SIGNS, env)
  }
}

/** Without a limit on the container Node answers with an absurdly large number: the machine's memory bounds it. */
function memoryBytes(): number {
  const constrained = process.constrainedMemory?.() ?? 0
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem()
}

function sign(signs: readonly (readonly [string, string])[], env: NodeJS.ProcessEnv): string | undefined {
  return signs.find(([name]) => env[name] !== undefined && env[name] !== '')?.[1]
}

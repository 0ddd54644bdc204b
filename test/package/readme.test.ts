/**
 * The code in the README is compiled against the built package and run, each block as a program of its own. Around a
 * block stands only what the README takes for granted: a database, a web framework.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const ROOT = resolve(import.meta.dirname, '../..')
// Inside the project, so that the package finds itself by its own name.
const PLACE = join(ROOT, '.artifacts/readme')
const END_MS_MAX = 30_000

const SURROUNDINGS = `
declare global {
  const db: { product(id: string, o: { signal: AbortSignal }): Promise<{ id: string; name: string }> }
  const app: {
    get(path: string, handler: (req: { params: { id: string } }, res: { json(value: unknown): void }) => Promise<void>): void
    listen(port: number): { close(then: () => void): void }
  }
}
export {}
`

/** A web framework as small as it can be: it holds the process until it is closed, and asks its one route once. */
const STANDINS = `
globalThis.db = { product: async id => ({ id, name: 'Product ' + id }) }
globalThis.app = {
  get: (path, handler) => void handler({ params: { id: '42' } }, { json: value => console.log('served', JSON.stringify(value)) }),
  listen: () => {
    const open = setInterval(() => {}, 1000)
    return { close: then => { clearInterval(open); then() } }
  }
}
`

interface Block {
  readonly code: string
  readonly runs: boolean
}

const blocks: Block[] = [...readFileSync(join(ROOT, 'README.md'), 'utf8').matchAll(/^```ts(.*)\n([\s\S]*?)^```/gm)].map(
  match => ({
    code: match[2] as string,
    runs: !(match[1] as string).includes('no-run')
  })
)

const temporary = mkdtempSync(join(tmpdir(), 'cachemesh-readme-'))

beforeAll(() => {
  rmSync(PLACE, { recursive: true, force: true })
  mkdirSync(PLACE, { recursive: true })
  writeFileSync(join(PLACE, 'surroundings.d.ts'), SURROUNDINGS)
  writeFileSync(join(PLACE, 'standins.mjs'), STANDINS)
  blocks.forEach(({ code }, i) => {
    writeFileSync(join(PLACE, `block-${i}.ts`), withImports(code))
  })
  writeFileSync(
    join(PLACE, 'tsconfig.json'),
    JSON.stringify({
      extends: '../../tsconfig.json',
      compilerOptions: { rootDir: '.', outDir: 'out', noEmit: false, declaration: false, noUnusedLocals: false },
      include: ['*.ts']
    })
  )
})

afterAll(() => {
  rmSync(temporary, { recursive: true, force: true })
})

/** Later blocks take the first one's import for granted; each must still be a whole program. */
function withImports(code: string): string {
  const names = ['createMesh', 'seeds', 'local'].filter(
    name => new RegExp(`\\b${name}\\(`).test(code) && !code.includes("from 'cachemesh'")
  )
  return names.length === 0 ? code : `import { ${names.join(', ')} } from 'cachemesh'\n${code}`
}

describe('the code in the README', () => {
  it('has the blocks we think it has', () => {
    expect(blocks.length).toBeGreaterThanOrEqual(4)
    expect(blocks.filter(block => block.runs).length).toBeGreaterThanOrEqual(3)
  })

  it('compiles under the strictest settings', () => {
    const run = (): string =>
      execFileSync(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', PLACE], {
        encoding: 'utf8',
        stdio: 'pipe'
      })
    expect(run).not.toThrow()
  })

  it('the first screen runs, serves, and ends on SIGTERM', async () => {
    const program = start(0)
    const served = await program.line('served')
    expect(served).toBe('served {"id":"42","name":"Product 42"}')
    program.child.kill('SIGTERM')
    expect(await program.end()).toEqual({ code: 0, signal: null })
  })

  it('every other block runs to its end', async () => {
    for (const [i, block] of blocks.entries()) {
      if (i === 0 || !block.runs) continue
      const program = start(i)
      expect({ block: i, ...(await program.end()), errors: program.errors() }).toEqual({
        block: i,
        code: 0,
        signal: null,
        errors: ''
      })
      const comments = [...block.code.matchAll(/^console\.log\(.*\) \/\/ (.+)$/gm)].map(match => match[1] as string)
      for (const expected of comments)
        expect(program.output().replaceAll(' ', '')).toContain(expected.replaceAll(' ', ''))
    }
  })
})

function start(block: number) {
  const env: NodeJS.ProcessEnv = { ...process.env, TMPDIR: temporary, NODE_NO_WARNINGS: '1' }
  for (const name of Object.keys(env)) if (/^(VITEST|JEST|NODE_TEST)/.test(name)) delete env[name]
  const child: ChildProcess = spawn(
    process.execPath,
    ['--import', join(PLACE, 'standins.mjs'), join(PLACE, `out/block-${block}.js`)],
    { env, stdio: ['ignore', 'pipe', 'pipe'] }
  )
  const killer = setTimeout(() => child.kill('SIGKILL'), END_MS_MAX)
  let out = ''
  let err = ''
  const seen = new Set<() => void>()
  child.stdout?.on('data', chunk => {
    out += chunk
    for (const look of seen) look()
  })
  child.stderr?.on('data', chunk => {
    err += chunk
  })
  const ended = once(child, 'exit').then(([code, signal]) => {
    clearTimeout(killer)
    return { code, signal }
  })
  return {
    child,
    output: () => out,
    errors: () => err,
    end: () => ended,
    line: (beginning: string) =>
      new Promise<string>((resolve, reject) => {
        const look = (): void => {
          const line = out.split('\n').find(text => text.startsWith(beginning))
          if (line !== undefined) resolve(line)
        }
        seen.add(look)
        void ended.then(() => reject(new Error(`it ended without a line '${beginning}': ${err}`)))
        look()
      })
  }
}

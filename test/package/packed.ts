/** The package as others get it: packed, and installed into a project of its own. */
import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'

const ROOT = resolve(import.meta.dirname, '../..')
const RUN_MS_MAX = 120_000

export interface Ran {
  readonly code: number
  readonly output: string
}

/** Runs to its end and tells how that was; only a program that cannot be run is an error. */
export async function run(
  program: string,
  args: readonly string[],
  o: { cwd: string; env?: NodeJS.ProcessEnv }
): Promise<Ran> {
  const env = { ...plain(), ...o.env }
  try {
    const { stdout, stderr } = await promisify(execFile)(program, args, {
      cwd: o.cwd,
      env,
      timeout: RUN_MS_MAX,
      maxBuffer: 2 ** 26
    })
    return { code: 0, output: stdout + stderr }
  } catch (error) {
    const { code, stdout, stderr } = error as { code?: unknown; stdout?: string; stderr?: string }
    if (typeof code !== 'number') throw error
    return { code, output: `${stdout}${stderr}` }
  }
}

export class Consumer {
  readonly dir = mkdtempSync(join(tmpdir(), 'cachemesh-consumer-'))
  #tarball = ''

  get tarball(): string {
    return this.#tarball
  }

  get installed(): string {
    return join(this.dir, 'node_modules', 'cachemesh')
  }

  /** Packs what is built and installs that, from the local cache of packages where it can. */
  async install(): Promise<void> {
    const packed = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', this.dir], {
      cwd: ROOT
    })
    const [{ filename }] = JSON.parse(
      packed.output.slice(packed.output.indexOf('['), packed.output.lastIndexOf(']') + 1)
    )
    this.#tarball = join(this.dir, filename)
    cpSync(join(import.meta.dirname, 'consumer'), this.dir, { recursive: true })
    writeFileSync(join(this.dir, 'package.json'), JSON.stringify({ name: 'consumer', private: true, type: 'module' }))
    const args = ['install', '--prefer-offline', '--ignore-scripts', '--no-audit', '--no-fund', this.#tarball]
    const installed = await run('npm', args, { cwd: this.dir })
    if (installed.code !== 0) throw new Error(`npm install failed\n${installed.output}`)
  }

  /** Lends it a package of ours that it needs and the installed one must not bring, as a link. */
  lend(name: string): void {
    const to = join(this.dir, 'node_modules', name)
    mkdirSync(resolve(to, '..'), { recursive: true })
    symlinkSync(join(ROOT, 'node_modules', name), to)
  }

  end(): void {
    rmSync(this.dir, { recursive: true, force: true })
  }
}

/** Without what the test runner and npm have told this process: a consumer is neither. */
function plain(): NodeJS.ProcessEnv {
  const told = /^(VITEST|JEST|NODE_|npm_|TEST$|DEV$|PROD$|MODE$|BASE_URL$|SSR$)/
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !told.test(name)))
}

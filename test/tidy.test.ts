/**
 * The rules of the house, as a test: which level may import which, who may touch the outside world, and that nothing
 * lies around unused. A rule that is only written down is a rule until Friday.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'

const ROOT = resolve(import.meta.dirname, '..')
const LIB = join(ROOT, 'lib')

/** Top to bottom: a file imports from lower levels and from its own folder, `import type` too. */
const LADDER = [
  'index.ts',
  'testing.ts',
  'create.ts',
  'sim',
  'local-member.ts',
  'mesh.ts',
  'parts.ts',
  'copying.ts',
  'asking.ts',
  'writing.ts',
  'reading.ts',
  'caches.ts',
  'topic.ts',
  'member.ts',
  'counter.ts',
  'mesh-cache.ts',
  'cache-events.ts',
  'drops.ts',
  'read-terms.ts',
  'write-terms.ts',
  'explanation.ts',
  'update.ts',
  'batches.ts',
  'cache.ts',
  'warming.ts',
  'tags.ts',
  'exists.ts',
  'calls.ts',
  'options.ts',
  'cache-options.ts',
  'door.ts',
  'serving',
  'topics',
  'near',
  'fill',
  'replication',
  'invalidation',
  'membership',
  'rpc',
  'placement',
  'store',
  'codec',
  'observe',
  'adapters',
  'ports',
  'base'
]
const LINES_MAX = 450
const ENTRIES = ['index.ts', 'testing.ts']

/** What reaches the outside world, and may be named in adapters only. */
const OUTSIDE = [
  /\bfrom '(node:|libp2p|@libp2p\/|@multiformats\/)/,
  /\bimport\('(node:|libp2p|@libp2p\/)/,
  /\bDate\.now\b|\bnew Date\(\)/,
  /\bperformance\.now\b/,
  /\b(setTimeout|setInterval|setImmediate)\s*\(/,
  /\bAbortSignal\.timeout\b/,
  /\bMath\.random\b/,
  /\bcrypto\.(randomUUID|getRandomValues|subtle)\b/,
  /\bprocess\.(env|on|emitWarning|hrtime)\b/
]

const files = sourceFiles(LIB)

describe('the house', () => {
  it('imports run down the ladder', () => {
    const wrong = files.flatMap(file =>
      importsOf(file)
        .filter(to => !mayImport(file, to))
        .map(to => `${file} imports ${to}`)
    )
    expect(wrong).toEqual([])
  })

  it('files of one folder do not import each other in a circle', () => {
    expect(files.map(file => circleFrom(file)).filter(circle => circle !== undefined)).toEqual([])
  })

  it('only create.ts and the testing entry meet the adapters, only the testing entry the simulator', () => {
    const wrong = files.flatMap(file =>
      importsOf(file)
        .filter(
          to =>
            (to.startsWith('adapters/') &&
              !file.startsWith('adapters/') &&
              !['create.ts', 'testing.ts'].includes(file)) ||
            (to.startsWith('sim/') && !file.startsWith('sim/') && file !== 'testing.ts')
        )
        .map(to => `${file} imports ${to}`)
    )
    expect(wrong).toEqual([])
  })

  it('only adapters touch time, chance and the machine', () => {
    const wrong = files
      .filter(file => !file.startsWith('adapters/'))
      .flatMap(file =>
        codeLines(file).flatMap(({ text, line }) =>
          OUTSIDE.filter(rule => rule.test(text)).map(rule => `${file}:${line} ${rule.source}`)
        )
      )
    expect(wrong).toEqual([])
  })

  it('every file is used', () => {
    const used = new Set(files.flatMap(importsOf))
    expect(files.filter(file => !used.has(file) && !ENTRIES.includes(file))).toEqual([])
  })

  it('files stay small enough to be read at one go', () => {
    const long = files.filter(file => readFileSync(join(LIB, file), 'utf8').split('\n').length > LINES_MAX)
    expect(long).toEqual([])
  })

  it('has no drawers for odds and ends', () => {
    expect(files.filter(file => /(^|\/)(utils?|helpers?|types|common|misc)(\/|\.ts$)/.test(file))).toEqual([])
    expect(files.filter(file => file.endsWith('/index.ts'))).toEqual([])
  })

  it('every file says what it is', () => {
    expect(files.filter(file => !/^(import .*\n|\n)*\/\*\*/m.test(readFileSync(join(LIB, file), 'utf8')))).toEqual([])
  })

  it('the map names every file', () => {
    const map = readFileSync(join(LIB, 'README.md'), 'utf8')
    const missing = files.filter(file => !map.includes(`\`${file}\``) && !map.includes(`\`${file.split('/').at(-1)}\``))
    expect(missing).toEqual([])
  })

  it('the top level holds what it should and nothing else', () => {
    const allowed = [
      'lib',
      'test',
      'demo',
      'package.json',
      'package-lock.json',
      'tsconfig.json',
      'README.md',
      'CHANGELOG.md',
      'LICENSE',
      'CONTRIBUTING.md',
      'node_modules',
      'dist'
    ]
    expect(readdirSync(ROOT).filter(name => !name.startsWith('.') && !allowed.includes(name))).toEqual([])
  })
})

describe('the rules themselves', () => {
  it('object to an import up the ladder', () => {
    expect(mayImport('store/store.ts', 'rpc/client.ts')).toBe(false)
    expect(mayImport('rpc/client.ts', 'store/store.ts')).toBe(true)
    expect(mayImport('base/errors.ts', 'ports/clock.ts')).toBe(false)
  })

  it('object to a clock in the core and not to one in a comment', () => {
    expect(OUTSIDE.some(rule => rule.test('const now = Date.now()'))).toBe(true)
    expect(withoutComments('const a = 1 // Date.now()\n/* Date.now() */').includes('Date.now')).toBe(false)
  })
})

function sourceFiles(dir: string): string[] {
  return readdirSync(dir, { withFileTypes: true }).flatMap(entry => {
    const path = join(dir, entry.name)
    if (entry.isDirectory()) return sourceFiles(path)
    return entry.name.endsWith('.ts') ? [relative(LIB, path)] : []
  })
}

/** The files of lib that a file of lib imports, by any form of import. */
function importsOf(file: string): string[] {
  const text = withoutComments(readFileSync(join(LIB, file), 'utf8'))
  const specifiers = [...text.matchAll(/(?:from|import\(|import)\s*'(\.{1,2}\/[^']+)'/g)].map(
    match => match[1] as string
  )
  return specifiers.map(specifier => relative(LIB, resolve(LIB, dirname(file), specifier)))
}

function levelOf(file: string): number {
  return LADDER.indexOf(file.includes('/') ? (file.split('/')[0] as string) : file)
}

function mayImport(from: string, to: string): boolean {
  const [fromLevel, toLevel] = [levelOf(from), levelOf(to)]
  if (fromLevel === -1 || toLevel === -1) return false
  return fromLevel < toLevel || (fromLevel === toLevel && from.includes('/'))
}

function circleFrom(file: string): string | undefined {
  const seen = new Set<string>()
  const open = importsOf(file)
  while (open.length > 0) {
    const next = open.pop() as string
    if (next === file) return `${file} imports itself by way of others`
    if (seen.has(next)) continue
    seen.add(next)
    open.push(...importsOf(next))
  }
  return undefined
}

function codeLines(file: string): { text: string; line: number }[] {
  return withoutComments(readFileSync(join(LIB, file), 'utf8'))
    .split('\n')
    .map((text, i) => ({ text, line: i + 1 }))
}

/** Comments become blank, line by line, so that line numbers stay true. */
function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, comment => comment.replace(/[^\n]/g, ' ')).replace(/(^|\s)\/\/.*$/gm, '$1')
}

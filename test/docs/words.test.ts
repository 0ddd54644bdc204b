/** Words that can rot are held equal to the code. */
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ERROR_CODES } from '../../lib/base/errors.ts'
import { cluster } from '../../lib/testing.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const readme = readFileSync(join(ROOT, 'README.md'), 'utf8')

describe('the README', () => {
  it('lists every error code with its meaning, and none that does not exist', () => {
    const rows = [...readme.matchAll(/^\| `(ERR_MESH_[A-Z_]+)` \| (.+) \| (yes|no) \| (.+) \|$/gm)].map(
      ([, code, when, again, todo]) => [code, { when, retryable: again === 'yes', todo }]
    )
    expect(Object.fromEntries(rows)).toEqual(ERROR_CODES)
    expect(readme.match(/^\| `ERR_MESH_/gm)).toHaveLength(rows.length)
  })

  it('lists every operation of a cache and of a counter, and none that does not exist', () => {
    const named = (title: string): string[] =>
      [...section(title).matchAll(/^\| `(\w+)\(/gm)].map(match => match[1] as string).sort()
    const declared = (file: string, name: string): string[] => {
      const source = readFileSync(join(ROOT, 'lib', file), 'utf8')
      const body = new RegExp(`export interface ${name}<.*\\{\\n([\\s\\S]*?)\\n\\}`).exec(source)?.[1] ?? ''
      return [...body.matchAll(/^ {2}(\w+)[(<]/gm)].map(match => match[1] as string).sort()
    }
    expect(declared('cache.ts', 'Cache')).toHaveLength(21)
    expect(named('Operations of a cache')).toEqual(declared('cache.ts', 'Cache'))
    expect(named('Counters')).toEqual(declared('counter.ts', 'Counter'))
  })

  it('names every option, and none that does not exist', () => {
    const source = ['options.ts', 'cache-options.ts']
      .map(file => readFileSync(join(ROOT, 'lib', file), 'utf8'))
      .join('')
    const declared = (name: string): string[] => {
      const list =
        new RegExp(`const ${name}: ReadonlySet<string> = new Set<[^(]*\\(\\[([\\s\\S]*?)\\]\\)`).exec(source)?.[1] ?? ''
      return [...list.matchAll(/'(\w+)'/g)].map(match => match[1] as string).sort()
    }
    expect(declared('MESH_OPTIONS').length).toBeGreaterThan(5)
    expect(optionRows('Options of a mesh')).toEqual(declared('MESH_OPTIONS'))
    expect(optionRows('Options of a cache')).toEqual(declared('CACHE_OPTIONS'))
  })

  it('lists every number of stats() in the words of the code, and none that does not exist', () => {
    const section = /\n## Numbers\n([\s\S]*?)\n## /.exec(readme)?.[1] ?? ''
    const listed = [...section.matchAll(/^\| `(\w+)` \| (.+) \|$/gm)].map(row => [row[1] as string, row[2]])
    const source = readFileSync(join(ROOT, 'lib/observe/stats.ts'), 'utf8')
    const documented = [...source.matchAll(/\/\*\* (.+) \*\/\n {2}(?:readonly )?(\w+)(?: = 0|: number)\n/g)]
    expect(Object.fromEntries(listed)).toEqual(Object.fromEntries(documented.map(one => [one[2], one[1]])))
    const numbers = cluster(1, { seed: 1 }).meshes[0]?.stats() ?? {}
    expect(listed.map(([name]) => name).sort()).toEqual(Object.keys(numbers).sort())
  })

  it('has a first screen that does not leave the mesh behind the back of a server', () => {
    const first = /```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? ''
    expect(first).toContain('mesh.leave()')
    expect(first).not.toContain('await using')
  })

  it('names only commands that exist', () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>
    }
    const words = [readme, readFileSync(join(ROOT, 'CONTRIBUTING.md'), 'utf8')].join('\n')
    const named = [...words.matchAll(/npm (?:run )?(test|demo|sim|format|fuzz|bench\S*)\b/g)].map(
      match => match[1] as string
    )
    expect(named.filter(name => scripts[name] === undefined)).toEqual([])
    expect(named.length).toBeGreaterThan(3)
  })
})

/** From a heading to the next. */
function section(title: string): string {
  const from = readme.indexOf(`### ${title}`)
  return from < 0 ? '' : (readme.slice(from + 4).split(/\n#/)[0] ?? '')
}

function optionRows(title: string): string[] {
  const section =
    readme
      .slice(readme.indexOf(`### ${title}`))
      .split(/\n##/)[0]
      ?.split('\n###')[0] ?? ''
  const table = readme.slice(readme.indexOf(`### ${title}`) + 4).split(/\n#/)[0] ?? section
  return [...table.matchAll(/^\| ((?:`\w+`(?:, )?)+) \|/gm)]
    .flatMap(row => [...(row[1] as string).matchAll(/`(\w+)`/g)].map(name => name[1] as string))
    .sort()
}

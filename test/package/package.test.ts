/** The package as others get it: what is in it, that it can be imported and required, and what its types say. */
import { mkdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Consumer, run } from './packed.ts'

const consumer = new Consumer()
const require = createRequire(import.meta.url)

/** This Node, and others whose programs are named in the environment, as CI does. */
const NODES = [
  ['this Node', process.execPath],
  ['Node 22', process.env.NODE22],
  ['Node 24', process.env.NODE24]
].filter((each): each is [string, string] => each[1] !== undefined && each[1] !== '')

beforeAll(() => consumer.install())

afterAll(() => consumer.end())

describe.each(NODES)('installed from its tarball, on %s', (name, node) => {
  it('is imported by both entries, and listens, and simulates', async () => {
    const version = await versionOf(node)
    const dir = join(consumer.dir, `members ${name}`)
    mkdirSync(dir)
    const ran = await run(node, ['use.mjs', dir], { cwd: consumer.dir })
    console.log(`imported on ${version}`)
    expect(ran.output.trim()).toBe(
      JSON.stringify({ value: 'loaded lamp', wrong: true, members: [1, 1], at: 0, views: [3, 3, 3] })
    )
    expect(ran.code).toBe(0)
  })

  it('is required, and is the same package that is imported', async () => {
    const version = await versionOf(node)
    const ran = await run(node, ['require.cjs'], { cwd: consumer.dir })
    console.log(`required on ${version}: ${ran.output.trim()}`)
    expect(ran.code).toBe(0)
    expect(ran.output).toContain(JSON.stringify({ value: 'loaded lamp', same: true, testing: 'function' }))
    // Node 20 and 22 may say that this is experimental; nothing else may be said.
    expect(ran.output.split('\n').filter(line => /warning/i.test(line) && !/ExperimentalWarning/.test(line))).toEqual(
      []
    )
  })
})

describe('the package', () => {
  it('is clean to publint', async () => {
    const { messages, pkg } = await publint({ pkgDir: consumer.installed, pack: false, strict: true })
    expect(messages.map(message => formatMessage(message, pkg))).toEqual([])
  })

  it('is clean to attw', async () => {
    // Resolution as Node and bundlers do it today, for every entry; `node16` leaves out only that of Node 10, which
    // knows no exports. That require() gets ESM is what we mean: Node from 20.19 on can do that, and the test above
    // holds it, so the one rule that warns of it is off and nothing else.
    const args = [
      consumer.tarball,
      '--profile',
      'node16',
      '--ignore-rules',
      'cjs-resolves-to-esm',
      '--no-emoji',
      '--no-color'
    ]
    const attw = require.resolve('@arethetypeswrong/cli/package.json').replace(/package\.json$/, 'dist/index.js')
    const ran = await run(process.execPath, [attw, ...args], { cwd: consumer.dir })
    expect(ran).toMatchObject({ code: 0 })
    expect(ran.output).toMatch(/node16 \(from CJS\).*OK \(ESM\).*OK \(ESM\)/)
  })

  it('holds types that infer what they should and refuse what they should, under strict settings', async () => {
    consumer.lend('@types/node')
    const tsc = require.resolve('typescript/package.json').replace(/package\.json$/, 'bin/tsc')
    const ran = await run(process.execPath, [tsc, '-p', 'tsconfig.json'], { cwd: consumer.dir })
    expect(ran.output).toBe('')
    expect(ran.code).toBe(0)
  })
})

async function versionOf(node: string): Promise<string> {
  return (await run(node, ['--version'], { cwd: consumer.dir })).output.trim()
}

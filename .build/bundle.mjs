/**
 * Puts libp2p and all it needs into one file of the package.
 *
 * Loading its 430 modules costs 0.6 s of processor time at each start of each process; as one file it costs 0.1 s.
 * And what an application runs is, byte for byte, what our tests ran: a new version of one of eighty packages reaches
 * it with a release of ours and not before. The price: an audit of the application's tree does not see these packages,
 * so their names, versions and licences are written beside the file.
 *
 * Only the adapter is bundled. What it shares with the rest (errors, ports) stays outside, or there would be two of
 * each class.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, sep } from 'node:path'
import { rolldown } from 'rolldown'

const adapters = join(import.meta.dirname, '..', 'dist', 'lib', 'adapters')
const entry = join(adapters, 'libp2p-transport.js')

const bundle = await rolldown({
  input: entry,
  platform: 'node',
  // The shim that must run before libp2p exports nothing: it must not be taken for dead code.
  treeshake: { moduleSideEffects: true },
  external: (id, importer) => id.startsWith('node:') || (id.startsWith('../') && importer !== undefined && dirname(importer) === adapters),
  makeAbsoluteExternalsRelative: false
})
const { output } = await bundle.generate({ format: 'esm', codeSplitting: false })
await bundle.close()

const [chunk] = output
const inside = chunk.moduleIds.map(id => id.replace(/^\0/, ''))
writeFileSync(entry, chunk.code)
rmSync(`${entry}.map`, { force: true })

// What went in is in there twice now: once in the bundle, once as files that nothing loads.
for (const id of inside) if (dirname(id) === adapters && id !== entry && isOnlyInside(id)) remove(id)
writeFileSync(join(adapters, 'bundled-packages.txt'), notices())

/** The adapters that the rest of the library loads too stay. */
function isOnlyInside(id) {
  const shared = ['listen-address.js', 'node-clock.js', 'node-random.js', 'node-context.js', 'node-log.js', 'local-discovery.js', 'surroundings.js', 'turn.js']
  return !shared.some(name => id.endsWith(`${sep}${name}`))
}

function remove(id) {
  for (const path of [id, `${id}.map`, id.replace(/\.js$/, '.d.ts')]) rmSync(path, { force: true })
}

function notices() {
  const roots = new Map()
  for (const id of inside) {
    const match = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(id)
    if (match !== null) roots.set(match[1], undefined)
  }
  const lines = [...roots.keys()].sort().map(root => {
    const { name, version, license, repository, author } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    const source = typeof repository === 'string' ? repository : (repository?.url ?? '')
    const by = typeof author === 'string' ? author : (author?.name ?? '')
    return `${name} ${version}\n  licence: ${license}${by === '' ? '' : `\n  author: ${by}`}${source === '' ? '' : `\n  source: ${source}`}\n${licenceText(root)}`
  })
  return `Packages that libp2p-transport.js contains, unchanged.\n\n${lines.join('\n')}`
}

function licenceText(root) {
  for (const name of ['LICENSE', 'LICENSE.md', 'LICENSE-MIT', 'LICENSE.txt', 'license', 'LICENCE']) {
    try {
      return `\n${readFileSync(join(root, name), 'utf8').trim().replace(/^/gm, '  ')}\n`
    } catch (error) {
      if (error.code !== 'ENOENT') throw error
    }
  }
  return '  (the package carries no licence file; its package.json names the licence)\n'
}

// The package is ESM alone, and Node lets require() have it: no await at the top level may creep in.
const { createMesh, LoadError } = require('cachemesh')
const { cluster } = require('cachemesh/testing')

async function main() {
  const same = (await import('cachemesh')).LoadError === LoadError
  const mesh = await createMesh({ name: 'required', listen: '127.0.0.1:0', discovery: [() => []] })
  const value = await mesh.cache('products', { ttl: '1h', load: id => `loaded ${id}` }).get('lamp')
  await mesh.leave()
  console.log(JSON.stringify({ value, same, testing: typeof cluster }))
}

main()

import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rm, symlink, unlink, utimes, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { local, localSource } from '../../lib/adapters/local-discovery.ts'

let dir: string
const signal = new AbortController().signal

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cachemesh-test-'))
})

afterEach(() => rm(dir, { recursive: true, force: true }))

async function announced(id: string, addresses: readonly string[], mesh = 'shop') {
  const source = local({ dir })
  const leave = await source.announce!({ mesh, id, addresses })
  return { source, leave }
}

const find = async (source: ReturnType<typeof local>) => [...(await source.find({ signal }))].sort()

/** The directory of the one mesh that is used here. */
async function meshDir(): Promise<string> {
  const [name] = await readdir(dir)
  return join(dir, name!)
}

test('members find each other and not themselves, and no longer those that left', async () => {
  const a = await announced('a', ['127.0.0.1:1'])
  const b = await announced('b', ['127.0.0.1:2', '[::1]:2'])
  const c = await announced('c', ['127.0.0.1:3'])
  expect(await find(a.source)).toEqual(['127.0.0.1:2', '127.0.0.1:3', '[::1]:2'])
  await b.leave()
  expect(await find(a.source)).toEqual(['127.0.0.1:3'])
  await Promise.all([a.leave(), c.leave()])
  expect(await readdir(await meshDir())).toEqual([])
})

test('a member that does not listen finds others and writes no file; before announce nothing is found', async () => {
  const a = await announced('a', ['127.0.0.1:1'])
  const client = await announced('client', [])
  expect(await find(client.source)).toEqual(['127.0.0.1:1'])
  expect(await find(a.source)).toEqual([])
  expect(await find(local({ dir }))).toEqual([])
  await client.leave()
  await a.leave()
})

test('another mesh is not found', async () => {
  const a = await announced('a', ['127.0.0.1:1'])
  const b = await announced('b', ['127.0.0.1:2'], 'another')
  expect(await find(a.source)).toEqual([])
  await Promise.all([a.leave(), b.leave()])
})

test('what nobody stands behind is not answered, and removed', async () => {
  const a = await announced('a', ['127.0.0.1:1'])
  const place = await meshDir()
  const member = { id: 'x', pid: process.pid, host: hostname(), addresses: ['127.0.0.1:9'] }
  const put = async (name: string, content: string, ageMs = 0) => {
    await writeFile(join(place, name), content)
    const seconds = (Date.now() - ageMs) / 1_000
    await utimes(join(place, name), seconds, seconds)
  }
  await put('gone.json', JSON.stringify({ ...member, pid: await endedPid() }))
  await put('old.json', JSON.stringify(member), 120_000)
  await put('oldgarbage.json', 'not json', 120_000)
  await put('old.json.1.tmp', 'half', 120_000)
  await put('garbage.json', 'not json')
  await put('shape.json', JSON.stringify({ ...member, addresses: [1] }))
  await put('many.json', JSON.stringify({ ...member, addresses: new Array(17).fill('127.0.0.1:9') }))
  await put('large.json', JSON.stringify({ ...member, padding: 'x'.repeat(20_000) }))
  await put('other.txt', JSON.stringify(member))
  await put('elsewhere.json', JSON.stringify({ ...member, host: 'another-host', pid: await endedPid() }))
  expect(await find(a.source)).toEqual(['127.0.0.1:9'])
  expect((await readdir(place)).sort()).toEqual([
    'a.json',
    'elsewhere.json',
    'garbage.json',
    'large.json',
    'many.json',
    'other.txt',
    'shape.json'
  ])
  await a.leave()
})

test('a file of its own that cannot be kept is said once, and once more when it happens again', async () => {
  const source = localSource({ dir }, 5)
  const leave = await source.announce!({ mesh: 'shop', id: 'a', addresses: ['127.0.0.1:1'] })
  const file = join(await meshDir(), 'a.json')
  const inTheWay = `${file}.${process.pid}.tmp`
  for (let time = 0; time < 2; time++) {
    await mkdir(inTheWay)
    await unlink(file)
    await vi.waitFor(() => expect(find(source)).rejects.toThrow('a.json cannot be written (EISDIR)'), 10_000)
    for (let look = 0; look < 20; look++) expect(await find(source)).toEqual([])
    await rm(inTheWay, { recursive: true })
    await vi.waitFor(async () => expect(await readdir(await meshDir())).toEqual(['a.json']), 10_000)
  }
  await leave()
})

test('a file that cannot be read is said when nobody else is found', async () => {
  const a = await announced('a', ['127.0.0.1:1'])
  await mkdir(join(await meshDir(), 'x.json'))
  await expect(find(a.source)).rejects.toThrow('x.json cannot be read (EISDIR)')
  const b = await announced('b', ['127.0.0.1:2'])
  expect(await find(a.source)).toEqual(['127.0.0.1:2'])
  await Promise.all([a.leave(), b.leave()])
})

test('a directory that others can write, or that is none, is refused', async () => {
  const open = join(dir, 'open')
  await mkdir(open)
  // mkdir is subject to the umask.
  await (await import('node:fs/promises')).chmod(open, 0o777)
  const refused = (path: string) => local({ dir: path }).announce!({ mesh: 'm', id: 'a', addresses: ['127.0.0.1:1'] })
  await expect(refused(open)).rejects.toMatchObject({ code: 'ERR_MESH_OPTION' })
  const link = join(dir, 'link')
  await symlink(dir, link)
  await expect(refused(link)).rejects.toMatchObject({ code: 'ERR_MESH_OPTION' })
})

test.skipIf(process.getuid?.() !== 0)('a directory of another user is refused', async () => {
  const foreign = join(dir, 'foreign')
  await mkdir(foreign)
  await (await import('node:fs/promises')).chown(foreign, 12_345, 12_345)
  await expect(
    local({ dir: foreign }).announce!({ mesh: 'm', id: 'a', addresses: ['127.0.0.1:1'] })
  ).rejects.toMatchObject({ code: 'ERR_MESH_OPTION' })
})

async function endedPid(): Promise<number> {
  const child = spawn(process.execPath, ['-e', ''])
  await new Promise(resolve => child.once('exit', resolve))
  return child.pid!
}

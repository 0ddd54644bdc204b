import { createHash } from 'node:crypto'
import { type FileHandle, lstat, mkdir, open, readdir, rename, unlink, utimes } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { clearInterval, setInterval } from 'node:timers'
import { MeshError } from '../base/errors.ts'
import type { DiscoverySource } from '../ports/discovery.ts'
import type { Address, PeerId } from '../ports/transport.ts'

/**
 * Members of one host find each other through a directory of small files, one per member, that say where it listens.
 *
 * A file is written beside its place and renamed, so nobody reads half of one, and touched every few seconds, so that
 * one left behind by a crash grows old. Whoever looks removes what nobody stands behind: its process has gone, it is
 * old, or it is no such file at all. A member that was asleep and finds its own file removed writes it again.
 *
 * The directory belongs to one user and nobody else may write it: an address in it costs whoever believes it a dial.
 * More it cannot do, since the handshake decides who is a member.
 *
 * The mesh's name comes with `announce`, so until then `find` knows no directory and answers with nothing. A member
 * that does not listen announces no addresses and writes no file.
 *
 * What goes wrong between two looks is thrown by the next one, once, so that it is counted and said: that this member's
 * own file cannot be kept, and nobody who starts will find it. A file of another that cannot be read is thrown when
 * nothing else was found.
 *
 * Not promised: anything across hosts or containers that do not share the directory, or that a file is up to date.
 */
const REFRESH_MS = 5_000
const STALE_MS = 60_000

/** Far above what a member writes; a larger file is somebody else's. */
const FILE_BYTES_MAX = 16 * 1024
const FILES_MAX = 1_024
const ADDRESSES_MAX = 16
const ADDRESS_CHARACTERS_MAX = 300
const MEMBER_FILE = /^[A-Za-z0-9]{1,128}\.json$/
const UNFINISHED_FILE = /^[A-Za-z0-9]{1,128}\.json\.\d+\.tmp$/

const nowMs = Date.now.bind(Date)

interface Member {
  readonly id: PeerId
  readonly pid: number
  /** The pid means something on this host only; containers may share the directory and not the processes. */
  readonly host: string
  readonly addresses: readonly Address[]
}

export function local(o: { dir?: string } = {}): DiscoverySource {
  return localSource(o, REFRESH_MS)
}

export function localSource(o: { dir?: string }, refreshMs: number): DiscoverySource {
  const root = o.dir ?? join(tmpdir(), `cachemesh-${process.getuid?.() ?? 'user'}`)
  let own: { id: PeerId; dir: string } | undefined
  let failure: { readonly error: Error; said: boolean } | undefined
  const onKept = (error?: Error): void => {
    failure = error === undefined ? undefined : (failure ?? { error, said: false })
  }
  return {
    name: 'local',
    async find({ signal }) {
      if (failure?.said === false) {
        failure.said = true
        throw failure.error
      }
      return own === undefined ? [] : await readMembers(own.dir, own.id, signal)
    },
    async announce({ mesh, id, addresses }) {
      const dir = join(root, createHash('sha256').update(mesh).digest('hex').slice(0, 16))
      await ownDirectory(root)
      await ownDirectory(dir)
      own = { id, dir }
      return addresses.length === 0
        ? async () => {}
        : await keepFile(dir, { id, pid: process.pid, host: hostname(), addresses }, refreshMs, onKept)
    }
  }
}

async function keepFile(
  dir: string,
  member: Member,
  refreshMs: number,
  onKept: (error?: Error) => void
): Promise<() => Promise<void>> {
  const path = join(dir, `${member.id}.json`)
  let left = false
  let writing: Promise<void> = writeMember(path, member)
  await writing
  const timer = setInterval(() => {
    writing = writing.then(() => (left ? undefined : refresh(path, member).then(onKept)))
  }, refreshMs).unref()
  return async () => {
    left = true
    clearInterval(timer)
    await writing
    await remove(path)
  }
}

/** What kept it from being fresh. */
async function refresh(path: string, member: Member): Promise<Error | undefined> {
  try {
    const now = nowMs() / 1_000
    await utimes(path, now, now)
  } catch {
    // Removed, because this process was asleep for so long that it looked dead, or the directory was cleaned up.
    try {
      await ownDirectory(join(path, '..'))
      await writeMember(path, member)
    } catch (cause) {
      // No room or no right to write any more. It is tried again, and meanwhile said.
      return new Error(
        `${path} cannot be written (${codeOf(cause)}): processes that start a minute from now will not find this one there`,
        { cause }
      )
    }
  }
  return undefined
}

async function writeMember(path: string, member: Member): Promise<void> {
  const unfinished = `${path}.${process.pid}.tmp`
  const file = await open(unfinished, 'w', 0o600)
  try {
    await file.writeFile(JSON.stringify(member))
  } finally {
    await file.close()
  }
  await rename(unfinished, path)
}

async function readMembers(dir: string, self: PeerId, signal: AbortSignal): Promise<readonly Address[]> {
  const names = (await readdir(dir)).slice(0, FILES_MAX)
  const found: Address[] = []
  let unreadable: Error | undefined
  const onUnreadable = (error: Error): void => {
    unreadable ??= error
  }
  for (const name of names) {
    signal.throwIfAborted()
    if (name === `${self}.json`) continue
    const path = join(dir, name)
    if (MEMBER_FILE.test(name)) found.push(...(await readMember(path, onUnreadable)))
    else if (UNFINISHED_FILE.test(name) && (await ageMs(path)) > STALE_MS) await remove(path)
  }
  if (found.length === 0 && unreadable !== undefined) throw unreadable
  return found
}

/** Its addresses, if somebody stands behind them. */
async function readMember(path: string, onUnreadable: (error: Error) => void): Promise<readonly Address[]> {
  let age: number
  let member: Member | undefined
  try {
    const file = await open(path, 'r')
    try {
      age = nowMs() - (await file.stat()).mtimeMs
      member = parseMember(await readCapped(file))
    } finally {
      await file.close()
    }
  } catch (cause) {
    // Removed by another member since it was listed, or made unreadable: only its age may be known, and decides.
    age = await ageMs(path)
    if (codeOf(cause) !== 'ENOENT' && age <= STALE_MS)
      onUnreadable(new Error(`${path} cannot be read (${codeOf(cause)})`, { cause }))
  }
  if (age <= STALE_MS && member !== undefined && !isGone(member)) return member.addresses
  // One that cannot be understood may be written by a newer version of this package: only when it is old it goes.
  if (age > STALE_MS || (member !== undefined && isGone(member))) await remove(path)
  return []
}

async function readCapped(file: FileHandle): Promise<string> {
  const buffer = Buffer.alloc(FILE_BYTES_MAX)
  const { bytesRead } = await file.read(buffer, 0, FILE_BYTES_MAX, 0)
  return buffer.toString('utf8', 0, bytesRead)
}

function parseMember(text: string): Member | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // Not a member's file; `undefined` says so.
    return undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  const { id, pid, host, addresses } = value as Record<string, unknown>
  if (typeof id !== 'string' || typeof host !== 'string' || !Number.isSafeInteger(pid)) return undefined
  if (!Array.isArray(addresses) || addresses.length > ADDRESSES_MAX || !addresses.every(isAddress)) return undefined
  return { id, pid: pid as number, host, addresses }
}

function isAddress(value: unknown): value is Address {
  return typeof value === 'string' && value.length > 0 && value.length <= ADDRESS_CHARACTERS_MAX
}

function isGone({ pid, host }: Member): boolean {
  if (host !== hostname()) return false
  if (pid <= 0) return true
  try {
    process.kill(pid, 0)
    return false
  } catch (error) {
    // Any other failure means that there is a process, which is not ours to signal.
    return codeOf(error) === 'ESRCH'
  }
}

/** Makes it, or checks that it is ours and no link to somewhere else. */
async function ownDirectory(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 })
  const stat = await lstat(path)
  const uid = process.getuid?.()
  const foreign = uid !== undefined && stat.uid !== uid
  const open = uid !== undefined && (stat.mode & 0o002) !== 0
  if (stat.isDirectory() && !foreign && !open) return
  const why = !stat.isDirectory()
    ? 'is not a directory'
    : foreign
      ? 'belongs to another user'
      : 'can be written by others'
  throw new MeshError(
    'ERR_MESH_OPTION',
    `local() keeps addresses of members in ${path}, which ${why}: remove it, or give local({ dir }) a directory of yours`
  )
}

/** How long ago it was touched; for one that is not there any more, no time at all. */
async function ageMs(path: string): Promise<number> {
  try {
    return nowMs() - (await lstat(path)).mtimeMs
  } catch {
    // Somebody else has removed it, which is all that an old one is good for.
    return 0
  }
}

async function remove(path: string): Promise<void> {
  try {
    await unlink(path)
  } catch {
    // Removed by somebody else at the same time, or not ours to remove; the next look tries again.
  }
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error)
}

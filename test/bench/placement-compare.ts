/**
 * The figures in the header of `lib/placement/rendezvous.ts`: a ring with 150 points for each member, jump hash and
 * ours. All hash with the same hash and place the same 16,384 partitions on the same members; ring and jump hash stand
 * there once more as they are mostly used, from the key to the member with no partitions in between. Run it with
 * `npm run build && node dist/test/bench/placement-compare.js`.
 */
import { hash32, type Salt, saltOf } from '../../lib/placement/hash.ts'
import { PARTITIONS, partitionOf } from '../../lib/placement/partitions.ts'
import { buildTable, type Placed } from '../../lib/placement/table.ts'
import { mean, median, membersOf, millisecondsOf, print } from './placement-measure.ts'

const SIZES = [10, 32]
const SETS = 20
const POINTS = 150
const SPACE = 0x100000000
/** Without partitions, shares are taken from this many places of the key space. */
const SAMPLES = 1 << 20
const KEYS = Array.from({ length: 200_000 }, (_, i) => `sproduct:${i}`)

interface Mesh {
  readonly members: readonly Placed[]
  readonly salt: Salt
}

interface Method {
  readonly name: string
  /** How many parts of the key space are placed. */
  readonly parts: number
  /** What has to be there before the first key is looked up. */
  readonly build: (mesh: Mesh) => unknown
  /** The owner of each part, as its place among the members. */
  readonly place: (mesh: Mesh) => ArrayLike<number>
  readonly finder: (mesh: Mesh) => (key: string) => number | string | undefined
  /** The members without the one at this place, in the order that moves least. */
  readonly without: (members: readonly Placed[], index: number) => readonly Placed[]
}

/** All points of all members in order, each with its owner in the lower 16 bits. */
function ringOf({ members, salt }: Mesh): Float64Array {
  const points = new Float64Array(members.length * POINTS)
  for (const [owner, { id }] of members.entries()) {
    for (let n = 0; n < POINTS; n++) points[owner * POINTS + n] = hash32(`${id} ${n}`, salt) * 0x10000 + owner
  }
  return points.sort()
}

function ownerOfPoint(point: number): number {
  return point % 0x10000
}

/** Parts are equal stretches of the ring; the first point from the middle of each on owns it. */
function placeOnRing(mesh: Mesh, parts: number): Uint16Array {
  const points = ringOf(mesh)
  const owners = new Uint16Array(parts)
  let next = 0
  for (let part = 0; part < parts; part++) {
    const at = ((part + 0.5) / parts) * SPACE * 0x10000
    while (next < points.length && (points[next] as number) < at) next++
    owners[part] = ownerOfPoint(points[next % points.length] as number)
  }
  return owners
}

function findOnRing(mesh: Mesh): (key: string) => number {
  const points = ringOf(mesh)
  return key => {
    const at = hash32(key, mesh.salt) * 0x10000
    let [low, high] = [0, points.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((points[middle] as number) < at) low = middle + 1
      else high = middle
    }
    return ownerOfPoint(points[low % points.length] as number)
  }
}

/** Lamping and Veach 2014, with steps of 32 bits. */
function jump(hash: number, members: number): number {
  let state = hash
  let last = 0
  for (let next = 0; next < members; ) {
    last = next
    state = Math.imul(state ^ (state >>> 16), 0x85ebca6b) + 0x9e3779b9
    state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35)
    state ^= state >>> 16
    next = Math.floor(((last + 1) * SPACE) / ((state >>> 0) + 1))
  }
  return last
}

function placeByJump({ members, salt }: Mesh, parts: number): Uint16Array {
  const owners = new Uint16Array(parts)
  for (let part = 0; part < parts; part++) owners[part] = jump(Math.imul(part, 0x9e3779b1) + salt.low, members.length)
  return owners
}

function findInTable(owners: ArrayLike<number>, salt: Salt): (key: string) => number {
  return key => owners[partitionOf(key, salt)] as number
}

function others(members: readonly Placed[], index: number): readonly Placed[] {
  return members.filter((_, i) => i !== index)
}

/** Only the last number can go, so the last member takes the number of the one that leaves. */
function othersRenumbered(members: readonly Placed[], index: number): readonly Placed[] {
  return members.slice(0, -1).map((member, i) => (i === index ? (members.at(-1) as Placed) : member))
}

const ring: Method = {
  name: 'ring',
  parts: SAMPLES,
  build: ringOf,
  place: mesh => placeOnRing(mesh, SAMPLES),
  finder: findOnRing,
  without: others
}

const ringOverPartitions: Method = {
  name: 'ring, partitions',
  parts: PARTITIONS,
  build: mesh => placeOnRing(mesh, PARTITIONS),
  place: mesh => placeOnRing(mesh, PARTITIONS),
  finder: mesh => findInTable(placeOnRing(mesh, PARTITIONS), mesh.salt),
  without: others
}

const jumpHash: Method = {
  name: 'jump hash',
  parts: SAMPLES,
  build: () => undefined,
  place: mesh => placeByJump(mesh, SAMPLES),
  finder: ({ members, salt }) => {
    const count = members.length
    return key => jump(hash32(key, salt), count)
  },
  without: othersRenumbered
}

const jumpOverPartitions: Method = {
  name: 'jump hash, partitions',
  parts: PARTITIONS,
  build: mesh => placeByJump(mesh, PARTITIONS),
  place: mesh => placeByJump(mesh, PARTITIONS),
  finder: mesh => findInTable(placeByJump(mesh, PARTITIONS), mesh.salt),
  without: othersRenumbered
}

function ours(name: string, ranks: number): Method {
  const tableOf = ({ members, salt }: Mesh) => buildTable(members, salt, ranks)
  return {
    name,
    parts: PARTITIONS,
    build: tableOf,
    place: mesh => {
      const table = tableOf(mesh)
      const indexOf = new Map(mesh.members.map(({ id }, index) => [id, index]))
      return Uint16Array.from({ length: PARTITIONS }, (_, p) => indexOf.get(table.primary(p) as string) as number)
    },
    finder: mesh => {
      const table = tableOf(mesh)
      return key => table.primary(partitionOf(key, mesh.salt))
    },
    without: others
  }
}

/** The share of the fullest, in shares of the mean. */
function fullest(owners: ArrayLike<number>, members: number): number {
  const counts = new Uint32Array(members)
  for (let part = 0; part < owners.length; part++) {
    const owner = owners[part] as number
    counts[owner] = (counts[owner] as number) + 1
  }
  return (Math.max(...counts) * members) / owners.length
}

/** How much of the key space changes its owner when one mesh follows another. */
function movedShare({ place, parts }: Method, before: Mesh, after: Mesh): number {
  const [ownersBefore, ownersAfter] = [place(before), place(after)]
  let moved = 0
  for (let part = 0; part < parts; part++) {
    const [from, to] = [before.members[ownersBefore[part] as number], after.members[ownersAfter[part] as number]]
    if (from !== to) moved++
  }
  return moved / parts
}

function measure(method: Method, count: number): void {
  const rows = Array.from({ length: SETS }, (_, set) => {
    const salt = saltOf(`mesh ${set}`)
    const joined = membersOf(set, count + 1)
    const members = joined.slice(0, count)
    const mesh = { members, salt }
    const find = method.finder(mesh)
    return {
      fullest: fullest(method.place(mesh), count),
      join: movedShare(method, mesh, { members: joined, salt }) * (count + 1),
      leave: movedShare(method, mesh, { members: method.without(members, set % count), salt }) * count,
      build: millisecondsOf(() => method.build(mesh)),
      find: millisecondsOf(() => KEYS.forEach(find)) / KEYS.length
    }
  })
  print(method.name, count, {
    'max/mean': mean(rows.map(row => row.fullest)).toFixed(3),
    worst: Math.max(...rows.map(row => row.fullest)).toFixed(3),
    'join ×': mean(rows.map(row => row.join)).toFixed(2),
    'leave ×': mean(rows.map(row => row.leave)).toFixed(2),
    'build ms': median(rows.map(row => row.build)).toFixed(1),
    'look-up ns': (median(rows.map(row => row.find)) * 1e6).toFixed(0)
  })
}

for (const method of [
  ring,
  ringOverPartitions,
  jumpHash,
  jumpOverPartitions,
  ours('ours', 1),
  ours('ours, 4 ranks', 4)
])
  for (const count of SIZES) measure(method, count)

/** The public surface of cachemesh: everything an application may use, and nothing else. */
export { BackupsError, type ErrorCode, isMeshError, LoadError, MeshError, PartialError } from './base/errors.ts'
export type { Bytes, Duration } from './base/units.ts'
export type { Cache, CacheEvents, Explanation, LoadingCache } from './cache.ts'
export type { CacheOptions, CounterOptions, NearOptions, WriteBehindOptions } from './cache-options.ts'
export type { Cached } from './caches.ts'
export type {
  AckOptions,
  CallOptions,
  ClearOptions,
  DeleteOptions,
  GetOptions,
  InvalidateOptions,
  KeepOptions,
  PrefixOptions,
  SetOptions,
  WarmOptions
} from './calls.ts'
export type { Key, KeyPart } from './codec/keys.ts'
export type { Count, Counter } from './counter.ts'
export { createMesh, dns, local, mdns, sharedMesh } from './create.ts'
export type { BackupAcks } from './door.ts'
export type { Entry, LoadContext, LoadManyContext, StoreChoice, StoreContext, Version } from './fill/definition.ts'
export type { Member } from './member.ts'
export { seeds } from './membership/discovery.ts'
export type { Mesh, MeshEvents, MeshStats, ReadyOptions } from './mesh.ts'
export type { HotKey } from './near/demand.ts'
export type { Left, Moved } from './observe/movement.ts'
export type { MeshOptions } from './options.ts'
export type { Discovery } from './ports/discovery.ts'
export type { Logger } from './ports/log.ts'
export type { Topic } from './topic.ts'
export type { Warmed } from './warming.ts'

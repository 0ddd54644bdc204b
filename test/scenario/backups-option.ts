/**
 * For stories of caches with backups, whatever the default is: the definition of a cache has as many as the story says.
 *
 *   vi.mock('../../lib/cache-options.ts', async original => withBackups(2, await original()))
 */
interface Makes {
  readonly cacheDefinition: (...args: never[]) => object
}

export function withBackups<M extends Makes>(backups: number, made: M): M {
  return { ...made, cacheDefinition: (...args: never[]) => ({ ...made.cacheDefinition(...args), backups }) }
}

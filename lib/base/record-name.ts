/** One text for a key of a cache, for maps that hold keys of all caches. No namespace has a line break in it. */
export function recordName(namespace: string, key: string): string {
  return `${namespace}\n${key}`
}

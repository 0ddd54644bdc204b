/**
 * Max-min fair shares of a whole number: nobody gets more than it wants, and nobody could get more unless somebody who
 * has no more than that got less. What does not divide goes to those who come first.
 */
export function fairShares(wants: readonly number[], available: number): number[] {
  const shares = wants.map(() => 0)
  let left = available
  let open = wants.map((_, i) => i).filter(i => (wants[i] as number) > 0)
  while (left > 0 && open.length > 0) {
    const each = Math.floor(left / open.length)
    if (each === 0) {
      for (const i of open.slice(0, left)) shares[i] = (shares[i] as number) + 1
      return shares
    }
    for (const i of open) {
      const given = Math.min(each, (wants[i] as number) - (shares[i] as number))
      shares[i] = (shares[i] as number) + given
      left -= given
    }
    open = open.filter(i => (shares[i] as number) < (wants[i] as number))
  }
  return shares
}

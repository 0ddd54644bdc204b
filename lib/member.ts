/**
 * A member of the mesh as the application sees it.
 */
import type { MemberRecord } from './membership/view.ts'

export interface Member {
  readonly id: string
  readonly addresses: readonly string[]
  readonly zone: string | undefined
  readonly host: string
  readonly weight: number
  readonly status: 'alive' | 'suspect' | 'leaving'
  readonly self: boolean
}

export function memberOf({ id, addresses, zone, host, weight, status }: MemberRecord, self: string): Member {
  return {
    id,
    addresses,
    zone: zone === '' ? undefined : zone,
    host,
    weight,
    status: status === 'suspect' ? 'suspect' : status === 'alive' ? 'alive' : 'leaving',
    self: id === self
  }
}

import type { MemberFields } from '../lib/rpc/messages.ts'

/** A member as another tells of it that is linked to it. */
export const record = (id: string, over: Partial<MemberFields> = {}): MemberFields => ({
  id,
  boot: 1,
  incarnation: 1,
  status: 'alive',
  weight: 1,
  zone: '',
  host: 'h',
  addresses: [`${id}:1`],
  firstHand: true,
  ...over
})

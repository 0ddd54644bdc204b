/**
 * What lies between two views: who has gone, who has come, who is suspected. A member that was started anew has gone
 * and come.
 */
import { isPresent, type MemberRecord, type View } from './view.ts'

export interface ViewChanges {
  readonly gone: readonly MemberRecord[]
  readonly come: readonly MemberRecord[]
  readonly suspected: readonly MemberRecord[]
}

export function changesBetween(before: View, after: View): ViewChanges {
  const lacks = (view: View, { id, boot }: MemberRecord): boolean => {
    const other = view.get(id)
    return other === undefined || other.boot !== boot || !isPresent(other)
  }
  return {
    gone: before.present().filter(record => lacks(after, record)),
    come: after.present().filter(record => lacks(before, record)),
    suspected: after.present().filter(({ id, status }) => status === 'suspect' && before.get(id)?.status !== 'suspect')
  }
}

export function isPresentIn(view: View, id: string): boolean {
  const record = view.get(id)
  return record !== undefined && isPresent(record)
}

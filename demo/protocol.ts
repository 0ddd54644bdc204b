/** What the demo and its member processes say to each other. */
export type Order = { number: number } & (
  | { do: 'meet'; members: number }
  | { do: 'get'; key: string; times: number }
  | { do: 'load'; keys: string[] }
  | { do: 'level' }
  | { do: 'leave' }
)

export type Report = { ready: true; id: string } | { order: number; result: unknown } | { order: number; error: string }

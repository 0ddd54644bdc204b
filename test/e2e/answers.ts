/** A process that does what its parent asks over IPC, by the names of its commands. */

/** Commands by name; each answers with something that can be cloned. */
export type CommandsOf<C> = { readonly [N in keyof C]: (...args: never[]) => Promise<unknown> }

type ByName = Readonly<Record<string, (...args: readonly unknown[]) => Promise<unknown>>>

export interface Ask {
  readonly ask: number
  readonly name: string
  readonly args: readonly unknown[]
}

export type Answer =
  | { readonly ask: number; readonly value: unknown }
  | {
      readonly ask: number
      readonly failure: { name: string; message: string; code: string | undefined; stack: string }
    }

export function obey<C extends CommandsOf<C>>(commands: C): void {
  const byName = commands as unknown as ByName
  process.on('message', (message: Ask | object) => {
    if ('ask' in message) void answer(byName, message)
  })
  // A test that is cut short leaves nothing behind.
  process.on('disconnect', () => process.exit())
}

export function tell(message: object): void {
  process.send?.(message)
}

async function answer(commands: ByName, { ask, name, args }: Ask): Promise<void> {
  try {
    const command = commands[name]
    if (command === undefined) throw new Error(`there is no command '${name}'`)
    tell({ ask, value: await command(...args) } satisfies Answer)
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown))
    const code = 'code' in error ? String(error.code) : undefined
    tell({
      ask,
      failure: { name: error.name, message: error.message, code, stack: error.stack ?? '' }
    } satisfies Answer)
  }
}

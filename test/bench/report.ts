/** What was measured, as tables for people and as JSON for programs; both from the same rows. */
import { median, ratioOf } from './rounds.ts'

/** The figures of one contender in one case: for each label its value in each round. */
export interface Row {
  readonly contender: string
  readonly figures: Readonly<Record<string, readonly number[]>>
}

export interface Case {
  readonly title: string
  /** Ratios are those of this figure, of the first row to each other one. */
  readonly compared: string
  readonly rows: readonly Row[]
}

export interface Told {
  readonly section: string
  readonly about: string
  readonly cases: Case[]
  readonly notes: string[]
}

export function say(line = ''): void {
  process.stdout.write(`${line}\n`)
}

export function tableOf({ title, compared, rows }: Case): string {
  const labels = [...new Set(rows.flatMap(row => Object.keys(row.figures)))]
  const [first] = rows
  const ours = first?.figures[compared]
  const lines = rows.map(({ contender, figures }) => [
    contender,
    ...labels.map(label => (figures[label] === undefined ? '' : short(median(figures[label])))),
    contender === first?.contender || ours === undefined || figures[compared] === undefined
      ? ''
      : `${short(ratioOf(ours, figures[compared]))} ×`
  ])
  return `${title}\n${aligned([['', ...labels, `${first?.contender ?? ''} to it, ${compared}`], ...lines])}`
}

/** For programs: medians, ratios and every round. */
export function jsonOf(told: readonly Told[], about: object): string {
  const sections = told.map(({ section, about: what, cases, notes }) => ({
    section,
    about: what,
    notes,
    cases: cases.map(({ title, compared, rows }) => ({
      title,
      compared,
      rows: rows.map(({ contender, figures }) => ({
        contender,
        medians: Object.fromEntries(Object.entries(figures).map(([label, values]) => [label, median(values)])),
        ratio: ratioOf(rows[0]?.figures[compared] ?? [], figures[compared] ?? []),
        rounds: figures
      }))
    }))
  }))
  return `${JSON.stringify({ ...about, sections }, null, 2)}\n`
}

/** Three digits are more than one run is worth. */
function short(value: number): string {
  if (!Number.isFinite(value)) return ''
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en')
  return value.toPrecision(3)
}

function aligned(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map(row => row[column]?.length ?? 0)))
  return rows
    .map(row => row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))))
    .map(cells => `  ${cells.join('   ').trimEnd()}`)
    .join('\n')
}

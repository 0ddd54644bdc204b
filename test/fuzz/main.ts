/**
 * `npm run fuzz -- --inputs 1000000 --seed S`: hostile inputs for everything that reads what comes from outside. The same
 * seed gives the same inputs. A failure is told with the one command that shows it again.
 *
 *   npm run fuzz                                            100,000 inputs of a seed made up now
 *   npm run fuzz -- --inputs 1000000 --seed 7 --only frame,member
 *   npm run fuzz -- --replay key:7300                       one input again
 *
 * It is compiled to a place of its own: what is built for the package has libp2p and some adapters in one file.
 */
import { parseArgs } from 'node:util'
import { CAMPAIGNS, type Campaign, replay, type Tally } from './run.ts'

const USAGE =
  'Known are --inputs N, --seed TEXT, --only NAME[,NAME] ' +
  `(${CAMPAIGNS.map(({ name }) => name).join(', ')}) and --replay NAME:HEX.`
const INPUTS_MAX = 1e9

function refuse(problem: string): never {
  process.stderr.write(`${problem} ${USAGE}\n`)
  process.exit(2)
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

function options(): { inputs: number; seed: string; campaigns: readonly Campaign[]; replay: string | undefined } {
  try {
    const { values } = parseArgs({
      options: {
        inputs: { type: 'string', default: '100000' },
        seed: { type: 'string', default: `${Date.now()}` },
        only: { type: 'string' },
        replay: { type: 'string' }
      }
    })
    const inputs = Number(values.inputs)
    if (!(Number.isInteger(inputs) && inputs > 0 && inputs <= INPUTS_MAX))
      refuse(`Expected --inputs from 1 to ${INPUTS_MAX}, got '${values.inputs}'.`)
    const wanted = values.only?.split(',') ?? CAMPAIGNS.map(({ name }) => name)
    const stranger = wanted.find(name => CAMPAIGNS.every(campaign => campaign.name !== name))
    if (stranger !== undefined) refuse(`There is no decoder '${stranger}'.`)
    return {
      inputs,
      seed: values.seed,
      campaigns: CAMPAIGNS.filter(({ name }) => wanted.includes(name)),
      replay: values.replay
    }
  } catch (error) {
    return refuse(`${(error as Error).message.split(/[.\n]/, 1)[0]}.`)
  }
}

function report({ decoder, inputs, accepted, refused, seconds }: Tally): void {
  const rate = Math.round(inputs / seconds).toLocaleString('en')
  say(
    `  ${decoder.padEnd(9)} ${`${inputs}`.padStart(8)} inputs  ${`${accepted}`.padStart(8)} accepted  ` +
      `${`${refused}`.padStart(8)} refused  ${rate.padStart(8)}/s`
  )
}

function reportFailure(campaign: Campaign, { inputs, failure }: Tally, seed: string): void {
  if (failure === undefined) return
  const hex = Buffer.from(failure.input).toString('hex')
  const again = campaign.isReplayable
    ? `npm run fuzz -- --replay ${campaign.name}:${hex}`
    : `npm run fuzz -- --seed ${seed} --only ${campaign.name} --inputs ${inputs}`
  say(`\n${campaign.name} failed on input ${inputs} of seed ${seed}: ${failure.error.stack ?? failure.error.message}`)
  say(`\n  input: ${hex}\n  again: ${again}`)
}

async function again(what: string): Promise<void> {
  const [name = '', hex = ''] = what.split(':')
  if (!/^([0-9a-f]{2})*$/i.test(hex)) refuse(`Expected --replay NAME:HEX, got '${what}'.`)
  say(`${name}: ${await replay(name, Uint8Array.from(Buffer.from(hex, 'hex')))}`)
}

const { inputs, seed, campaigns, replay: what } = options()
if (what !== undefined) {
  await again(what)
  process.exit()
}
say(`seed ${seed}`)
const shares = campaigns.reduce((sum, { share }) => sum + share, 0)
const beganMs = performance.now()
let done = 0
let failed = 0
for (const campaign of campaigns) {
  const tally = await campaign.run(seed, Math.ceil((inputs * campaign.share) / shares))
  report(tally)
  reportFailure(campaign, tally, seed)
  done += tally.inputs
  if (tally.failure !== undefined) failed++
}
const seconds = (performance.now() - beganMs) / 1_000
say(`${done} inputs in ${seconds.toFixed(1)} s, ${Math.round(done / seconds)} a second, seed ${seed}`)
say(failed === 0 ? 'every decoder held' : `${failed} of ${campaigns.length} did not hold`)
process.exitCode = failed === 0 ? 0 : 1

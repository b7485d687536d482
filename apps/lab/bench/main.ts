/**
 * `pnpm bench` lists the benches, `pnpm bench <name> [--json <file>]` runs one: `<name>.bench.ts` next to this file.
 * Prints figures; whether they are good is not judged here.
 */
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { chooseBench, readArguments, UsageError } from './arguments.ts'
import { type Bench, defaultRounds, runBench } from './harness.ts'
import { formatTable, machineFacts } from './report.ts'

const suffix = '.bench.ts'

try {
  await main(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  process.stderr.write(`${error.message}\n`)
  process.exitCode = 1
}

async function main(args: readonly string[]): Promise<void> {
  const { name, jsonFile } = readArguments(args)
  const names = await benchNames()
  if (name === undefined) return list(names)
  const bench = await load(chooseBench(name, names))
  say(`${name}: ${bench.about}`)
  say(machineFacts())
  say(
    `Median (min to max) of ${defaultRounds.counted} rounds, interleaved, after ${defaultRounds.warmUp} to warm up; fewer where a round is long.`,
  )
  const results = await runBench(bench)
  say(`\n${formatTable(results)}`)
  if (jsonFile === undefined) return
  await mkdir(dirname(resolve(jsonFile)), { recursive: true })
  await writeFile(jsonFile, `${JSON.stringify(results, null, 2)}\n`)
}

async function list(names: readonly string[]): Promise<void> {
  for (const name of names) say(`${name}  ${(await load(name)).about}`)
}

async function benchNames(): Promise<string[]> {
  const files = await readdir(import.meta.dirname)
  const benches = files.filter((file) => file.endsWith(suffix))
  return benches.map((file) => file.slice(0, -suffix.length)).toSorted()
}

async function load(name: string): Promise<Bench> {
  const module: { default: Bench } = await import(`./${name}${suffix}`)
  return module.default
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

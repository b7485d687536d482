import { parseArgs } from 'node:util'

export interface BenchArguments {
  /** Of the bench; none asks for the list. */
  readonly name: string | undefined
  readonly jsonFile: string | undefined
}

/** What whoever called it can put right: the message is enough. */
export class UsageError extends Error {}

/** @throws `UsageError` that says what is wrong and how to call it */
export function readArguments(args: readonly string[]): BenchArguments {
  const { positionals, values } = parse(args)
  if (positionals.length > 1) throw wrongUse(`one bench at a time, not ${positionals.join(' ')}`)
  if (values.json === '') throw wrongUse('--json needs the name of a file')
  if (values.json !== undefined && positionals.length === 0) throw wrongUse('--json needs a bench to run')
  return { name: positionals[0], jsonFile: values.json }
}

function parse(args: readonly string[]): { positionals: string[]; values: { json?: string } } {
  try {
    return parseArgs({ args: [...args], options: { json: { type: 'string' } }, allowPositionals: true })
  } catch (error) {
    throw wrongUse(error instanceof Error ? error.message : String(error), error)
  }
}

function wrongUse(what: string, cause?: unknown): UsageError {
  return new UsageError(`${what}\nUsage: pnpm bench [<name>] [--json <file>]`, { cause })
}

/** @throws `UsageError` that lists the benches there are */
export function chooseBench(name: string, names: readonly string[]): string {
  if (names.includes(name)) return name
  throw new UsageError(`There is no bench ${JSON.stringify(name)}; there is ${names.join(', ')}.`)
}

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ErlangNetwork } from './erlang-network.ts'
import { run } from './run.ts'

let calls = 0

/** How to talk to one node of the network, from outside. */
export class ErlangNode {
  /** Such as `rabbit1@localhost`: a name that nothing asks the DNS for. */
  readonly name: string
  readonly env: NodeJS.ProcessEnv
  readonly #network: ErlangNetwork

  /** `home` becomes the HOME of the node and its tools, with the cookie. */
  constructor(network: ErlangNetwork, name: string, home: string, env: NodeJS.ProcessEnv) {
    mkdirSync(home)
    writeFileSync(join(home, '.erlang.cookie'), network.cookie, { mode: 0o400 })
    this.name = name
    this.env = { ...network.env, ...env, HOME: home }
    this.#network = network
  }

  /** The value of an expression, which must be one that JSON can say. 5 to 20 ms. */
  async evaluate(expression: string, timeoutMs = 10_000): Promise<unknown> {
    const input = `io:put_chars(rabbit_json:encode(begin ${expression} end)).\n`
    // Two calls at once must not have the same name, or one of them is refused. Those of `-r` are the same for a whole second.
    const caller = `caller-${process.pid}-${++calls}`
    const args = ['-h', caller, '-sname', this.name, '-fetch_stdout', '-e']
    const output = await run(this.#network.programs.erlCall, args, {
      env: this.env,
      timeoutMs,
      input,
    })
    const json = /^(.*)\{ok, ok\}$/s.exec(output)?.[1]
    if (json === undefined) throw new Error(`${this.name} could not evaluate ${expression}: ${output}`)
    return JSON.parse(json)
  }

  /** `rabbitmqctl -q`; it starts an Erlang of its own, so that each call costs a second of CPU. */
  async ctl(...args: readonly string[]): Promise<string> {
    return await run(this.#network.programs.ctl, ['-q', '-n', this.name, ...args], {
      env: this.env,
      timeoutMs: 120_000,
    })
  }
}

/** A text as Erlang's binary literal. */
export function binary(text: string): string {
  return `<<"${text.replaceAll(/["\\]/g, String.raw`\$&`)}"/utf8>>`
}

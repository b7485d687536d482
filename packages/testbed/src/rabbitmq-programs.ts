import { dirname } from 'node:path'
import { findProgram } from './find-program.ts'
import { lookIn, searchFolders, thisHost } from './host.ts'

export interface RabbitmqPrograms {
  readonly server: string
  readonly ctl: string
  /** Tells Erlang nodes one another's ports. */
  readonly epmd: string
  /** Evaluates an expression in a node within milliseconds, where rabbitmqctl needs a second to start. */
  readonly erlCall: string
}

/** rabbitmq-server, and what its package and its Erlang bring along: beside it, else on PATH. */
export async function rabbitmqPrograms(): Promise<RabbitmqPrograms> {
  const { path: server } = await findProgram('rabbitmq-server')
  const folders = [dirname(server), ...searchFolders(thisHost)]
  const beside = (command: string) => {
    const path = lookIn(folders, command)
    if (!path) throw new Error(`${command} is neither beside ${server} nor on PATH; it comes with Erlang`)
    return path
  }
  return {
    server,
    ctl: beside('rabbitmqctl'),
    epmd: beside('epmd'),
    erlCall: beside('erl_call'),
  }
}

// Nodes of one process, for the bench `pubsub`. A line `join <side> <how many>` brings them up, `publish <how many of them> <a second> <ms>` has them
// publish in turn, `tell` asks for the ms that each mark took to each node that is not its publisher's, and `leave` ends them.
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { machineMs, markOf, type PubSubParty } from './pubsub-party.ts'
import { joinSide } from './pubsub-sides.ts'

const { REDIS_URL = '', RABBITMQ_URL = '' } = process.env
const parties: PubSubParty[] = []
let samples: number[] = []

say('ready')
for await (const line of createInterface({ input: process.stdin })) {
  const [verb, ...args] = line.split('\t')
  if (verb === 'join') await join(args[0] ?? '', Number(args[1]))
  else if (verb === 'publish') await publish(Number(args[0]), Number(args[1]), Number(args[2]))
  else if (verb === 'leave') await Promise.all(parties.splice(0).map((party) => party[Symbol.asyncDispose]()))
  say(verb === 'tell' ? `tell ${samples.map((ms) => ms.toFixed(3)).join(' ')}` : `${verb}`)
}

async function join(side: string, count: number): Promise<void> {
  samples = []
  const join = (_: unknown, index: number): Promise<PubSubParty> => {
    const name = nameOf(index)
    return joinSide(side, side.startsWith('rabbitmq') ? RABBITMQ_URL : REDIS_URL, ({ from, sentAtMs }) => {
      if (from !== name) samples.push(machineMs() - sentAtMs)
    })
  }
  parties.push(...(await Promise.all(Array.from({ length: count }, join))))
}

async function publish(count: number, perSecond: number, forMs: number): Promise<void> {
  const startedAtMs = machineMs()
  // Not in step with the other processes.
  const firstMs = (Math.random() * 1_000) / perSecond
  for (let done = 0; ; done += 1) {
    const dueMs = startedAtMs + firstMs + (done * 1_000) / perSecond
    if (dueMs > startedAtMs + forMs) return
    const waitMs = dueMs - machineMs()
    if (waitMs > 0) await sleep(waitMs)
    const index = done % count
    void parties[index]?.publish(markOf(nameOf(index)))
  }
}

function nameOf(index: number): string {
  return `${process.pid}:${index}`
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

// Several who want the same lock again and again, for the bench `lock`: a line `<side> <key> <contenders> <turns> <hold in ms>` starts them,
// and the answer is `done <commands that they sent>`.
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { LockSides } from './lock-sides.ts'
import { SentCommands } from './sent-commands.ts'

const { REDIS_URL = '' } = process.env
const port = Number(new URL(REDIS_URL).port)
await using resources = new AsyncDisposableStack()
const sides = await LockSides.join(REDIS_URL, resources)

say('ready')
for await (const line of createInterface({ input: process.stdin })) {
  const [side = '', key = '', contenders, turns, holdMs] = line.split(' ')
  const { acquire } = sides.party(side)
  using sent = new SentCommands()
  const contend = async (): Promise<void> => {
    for (let turn = 0; turn < Number(turns); turn += 1) {
      const release = await acquire(key)
      await sleep(Number(holdMs))
      await release()
    }
  }
  await Promise.all(Array.from({ length: Number(contenders) }, contend))
  say(`done ${sent.to(port)}`)
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

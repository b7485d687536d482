import { inspect } from 'node:util'
import { isMultinodeError } from '@multinode/core'
import { type RedisServer, stolenMs, waitUntil } from '@multinode/testbed'
import { Redis } from 'ioredis'
import { type RedisClient, type RedisConnection, RedisScript } from '../src/index.ts'
import { type Settled, settled } from './settled.ts'

const everyMs = 5
/** So many questions reach all nodes of a Cluster. */
const enough = 60
let made = 0

/** Counts how often it ran, and answers whose question it was. */
const counting = new RedisScript('counting', "return {redis.call('INCR', KEYS[1]), ARGV[1]}")

/** The same, but not loaded again by ours. */
export const bareCounting = new RedisScript('bare counting', `${counting.source} `)

/** Both ways to ask something. */
export interface Asker {
  readonly command: (name: string, ...args: string[]) => Promise<unknown>
  readonly script: (key: string, word: string) => Promise<unknown>
}

export function askerOf(connection: RedisConnection, timeoutMs: number): Asker {
  return {
    command: (name, ...args) => connection.command(name, args, timeoutMs),
    script: (key, word) => connection.script(counting, [key], [word], timeoutMs),
  }
}

/** The script must have been loaded. */
export function bareAskerOf(client: RedisClient): Asker {
  return {
    command: (name, ...args) => client.call(name, ...args),
    script: (key, word) => client.evalsha(bareCounting.hash, 1, key, word),
  }
}

interface Question {
  readonly kind: 'command' | 'script' | 'echo'
  /** Also its key: each counts in one of its own. */
  readonly id: string
  readonly rightAnswer: unknown
  readonly askedAtMs: number
  ended: Settled | undefined
}

/**
 * Asks all the time, three questions every 5 ms: a script and a command that count in a key of their own, and an echo. Ids are
 * spread over all slots.
 */
export class Load implements Disposable {
  /** Like no other's, so that what comes late of another test is not taken for ours. */
  readonly name: string
  readonly questions: Question[] = []
  readonly #asker: Asker
  readonly #timer: NodeJS.Timeout
  readonly #under: Promise<void>[] = []

  constructor(name: string, asker: Asker) {
    this.name = `${name}${(made += 1)}`
    this.#asker = asker
    this.#timer = setInterval(() => this.#askThree(), everyMs)
  }

  failed(): Question[] {
    return this.questions.filter(({ ended }) => ended?.error !== undefined)
  }

  /** Those that took, or wait, longer than that. */
  slowerThan(ms: number): Question[] {
    const nowMs = performance.now()
    return this.questions.filter(({ ended, askedAtMs }) => (ended?.ms ?? nowMs - askedAtMs) > ms)
  }

  /** Asks no more. */
  stop(): void {
    clearInterval(this.#timer)
  }

  [Symbol.dispose](): void {
    this.stop()
  }

  /** Resolves when so many in a row were answered that were asked from now on. */
  async untilItWorks(): Promise<void> {
    await waitUntil('all questions to be answered', async () => {
      const from = this.questions.length
      const next = await waitUntil('the next ones to end', () => {
        const asked = this.questions.slice(from, from + enough)
        return asked.length === enough && asked.every(({ ended }) => ended) ? asked : undefined
      })
      return next.every(({ ended }) => ended?.error === undefined)
    })
  }

  async allEnded(): Promise<void> {
    await Promise.all(this.#under)
  }

  #askThree(): void {
    const { command, script } = this.#asker
    const id = (kind: string): string => `${this.name}-${kind}-${this.questions.length}`
    const [scriptId, commandId, echoId] = [id('script'), id('command'), id('echo')]
    this.#ask('script', scriptId, [1, scriptId], script(scriptId, scriptId))
    this.#ask('command', commandId, 1, command('INCR', commandId))
    this.#ask('echo', echoId, echoId, command('ECHO', echoId))
  }

  #ask(kind: Question['kind'], id: string, rightAnswer: unknown, answer: Promise<unknown>): void {
    const question: Question = { kind, id, rightAnswer, askedAtMs: performance.now(), ended: undefined }
    this.questions.push(question)
    this.#under.push(settled(answer).then((ended) => void (question.ended = ended)))
  }
}

/** How often each counted, by what the servers hold. */
async function countsOn(masters: readonly RedisServer[]): Promise<Map<string, number>> {
  const all = await Promise.all(masters.map(countsOnOne))
  return new Map(all.flat())
}

async function countsOnOne(master: RedisServer): Promise<(readonly [string, number])[]> {
  const client = new Redis(master.url)
  const keys = await client.keys('*-*-*')
  const counts = keys.map(async (key) => [key, Number(await client.get(key))] as const)
  const found = await Promise.all(counts)
  client.disconnect()
  return found
}

export interface Expected {
  /** Of each call. */
  readonly deadlineMs: number
  /** Whether the servers may have lost what they had counted. Default false. */
  readonly forgets?: boolean
}

/**
 * What is wrong with how the questions ended and what the servers counted. Nothing is, if each was answered rightly or refused with a
 * typed error within its deadline and a tenth, and counted at most once: once if it was answered, never if it was refused as not sent.
 */
export async function wrongsOf(
  load: Load,
  masters: readonly RedisServer[],
  { deadlineMs, forgets = false }: Expected,
): Promise<string[]> {
  load.stop()
  await load.allEnded()
  const counts = await countsOn(masters)
  const latestMs = deadlineMs * 1.1 + stolenMs()
  return load.questions.flatMap(({ kind, id, rightAnswer, ended }) => {
    if (ended === undefined) return [`${id} never ended`]
    const { value, error, ms } = ended
    const wrongs = ms > latestMs ? [`${id} took ${ms} ms`] : []
    if (error === undefined && JSON.stringify(value) !== JSON.stringify(rightAnswer)) {
      wrongs.push(`${id} was answered ${JSON.stringify(value)}`)
    }
    const outcome = isMultinodeError(error) ? error.outcome : 'answered'
    const isExpected = isMultinodeError(error) && ['UNAVAILABLE', 'TIMEOUT'].includes(error.code)
    if (error !== undefined && !isExpected) wrongs.push(`${id} failed: ${inspect(error)}`)
    if (kind === 'echo') return wrongs
    const count = counts.get(id) ?? 0
    const least = error === undefined && !forgets ? 1 : 0
    const most = outcome === 'not-sent' ? 0 : 1
    if (count < least || count > most) wrongs.push(`${id} counted ${count} times: ${outcome}`)
    return wrongs
  })
}

/** Those that counted more than once. */
export async function doublesOf(load: Load, masters: readonly RedisServer[]): Promise<Question[]> {
  const counts = await countsOn(masters)
  return load.questions.filter(({ id }) => (counts.get(id) ?? 0) > 1)
}

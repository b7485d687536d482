import { isMultinodeError, MultinodeError } from '../errors/multinode-error.ts'
import type { AddReply, NewJob } from './queue-driver.ts'

interface Entry {
  readonly job: NewJob
  reply: AddReply | undefined
  /** An earlier request may have added it all the same. */
  isUnsure: boolean
}

/** What becomes of jobs that are added by one request, or by several when some of them fail for now. */
export class AddReplies {
  readonly #entries: readonly Entry[]
  #open: readonly Entry[]

  constructor(jobs: readonly NewJob[]) {
    this.#entries = jobs.map((job) => ({ job, reply: undefined, isUnsure: false }))
    this.#open = this.#entries
  }

  /** Carries out one request for those that have no final reply. @throws when it is worth another one */
  async request(add: (jobs: readonly NewJob[]) => Promise<readonly AddReply[]>): Promise<void> {
    const asked = this.#open
    for (const entry of asked) entry.reply = undefined
    let replies: readonly AddReply[]
    try {
      replies = await add(asked.map(({ job }) => job))
    } catch (error) {
      const isSent = !isMultinodeError(error) || error.outcome !== 'not-sent'
      if (isSent) for (const entry of asked) entry.isUnsure = true
      throw error
    }
    for (const [index, entry] of asked.entries()) {
      const reply = replies[index] ?? missing()
      entry.reply = entry.isUnsure ? unsure(reply) : reply
      entry.isUnsure ||= reply.status === 'failed' && reply.error.outcome !== 'not-sent'
    }
    this.#open = asked.filter(({ reply }) => isWorthRetrying(reply))
    const first = this.#open[0]?.reply
    if (first?.status === 'failed') throw first.error
  }

  /** One for each job, in order; `error` for those that have none. */
  all(error?: MultinodeError): AddReply[] {
    return this.#entries.map(({ reply, isUnsure }) => {
      if (reply !== undefined) return reply
      if (error === undefined) return missing()
      return isUnsure ? unsure({ status: 'failed', error }) : { status: 'failed', error }
    })
  }
}

function isWorthRetrying(reply: AddReply | undefined): boolean {
  return reply?.status === 'failed' && reply.error.retryable
}

/** That the last request was not sent says nothing about the ones before. */
function unsure(reply: AddReply): AddReply {
  if (reply.status !== 'failed' || reply.error.outcome !== 'not-sent') return reply
  const { code, message, capability, backend, details } = reply.error
  const context = { capability, backend, details, outcome: 'unknown', cause: reply.error } as const
  return { status: 'failed', error: new MultinodeError(code, message, context) }
}

export function missing(): AddReply {
  return {
    status: 'failed',
    error: new MultinodeError('INTERNAL', 'The adapter gave no reply for a job.', {
      capability: 'queue',
      outcome: 'unknown',
    }),
  }
}

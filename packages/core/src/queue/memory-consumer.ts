import type { MemoryJob, MemoryLine } from './memory-line.ts'
import type { ConsumeOptions, Consumer, Delivery, JobReceiver } from './queue-driver.ts'

/** One worker on a {@link MemoryLine}. Nothing is fetched ahead, so nothing has to go back. */
export class MemoryConsumer implements Consumer {
  readonly #line: MemoryLine
  readonly #options: ConsumeOptions
  readonly #receiver: JobReceiver
  readonly #running = new Set<MemoryJob>()
  #isPaused = false

  constructor(line: MemoryLine, options: ConsumeOptions, receiver: JobReceiver) {
    this.#line = line
    this.#options = options
    this.#receiver = receiver
  }

  get hasRoom(): boolean {
    return !this.#isPaused && this.#running.size < this.#options.concurrency
  }

  start(job: MemoryJob): void {
    this.#running.add(job)
    void this.#run(job)
  }

  async pause(): Promise<void> {
    this.#isPaused = true
  }

  async resume(): Promise<void> {
    this.#isPaused = false
    this.#line.dispatch()
  }

  async close(): Promise<void> {
    this.#isPaused = true
    this.#line.leave(this)
    const left = [...this.#running]
    this.#running.clear()
    for (const job of left) this.#line.crash(job, this.#options.maxCrashes)
  }

  async #run(job: MemoryJob): Promise<void> {
    const { record, attempt } = job
    const delivery: Delivery = {
      record,
      attempt,
      redelivered: job.wasStarted,
      progress: async (value) => {
        job.progress = value
      },
    }
    job.wasStarted = true
    const settlement = await this.#receiver.run(delivery)
    // After a close it runs elsewhere.
    if (this.#running.delete(job)) this.#line.settle(job, settlement)
    else this.#receiver.settleIgnored(record.id)
  }
}

/** Exchanges and queues of one cluster. Its name has only `[A-Za-z0-9_.-]`, an incarnation likewise. */
export class BusNames {
  /** Where signals are published, with the topic as routing key. */
  readonly bus: string
  /** The stream that keeps them all. */
  readonly log: string
  /** Where nodes say that they are there. */
  readonly presence: string

  constructor(clusterName: string) {
    this.bus = `${clusterName}.bus`
    this.log = `${clusterName}.bus.log`
    this.presence = `${clusterName}.presence`
  }
}

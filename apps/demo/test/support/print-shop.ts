import { fileURLToPath } from 'node:url'
import { type NodeChild, spawnNode, temporaryFolder, waitUntil } from '@multinode/testbed'
import { onTestFinished } from 'vitest'

const mainFile = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
/** Of the test's patience; what the shop itself may take is less. */
const callTimeoutMs = 30_000

type Env = Readonly<Record<string, string>>

interface OrderBody {
  readonly customer: string
  readonly item: string
  readonly quantity: number
}

export interface OrderReply extends OrderBody {
  readonly id: string
  readonly status: string
  readonly node: string | null
  readonly attempts: number
  readonly priceCents: number | null
}

/** Of `GET /cluster`, what the tests look at. */
export interface ClusterReply {
  readonly catalogueReads: number
  readonly health: { readonly capabilities: Readonly<Record<string, { readonly status: string }>> }
  readonly stats: {
    readonly cache: {
      readonly factoryRuns: number
      readonly localHits: number
      readonly isOpen: boolean
      readonly waiting: number
    }
  }
}

/** A folder for one test's records, removed at its end. */
export function dataFolder(): string {
  const folder = temporaryFolder('print-shop')
  onTestFinished(folder.remove)
  return folder.path
}

/** The app in a process of its own, on any free port; stopped at the end of the test. */
export async function launchShop(env: Env = {}): Promise<NodeChild> {
  const child = await spawnNode(mainFile, {
    env: { PORT: '0', DATA_DIR: dataFolder(), FIRST_START: '1', ...env },
  })
  onTestFinished(async () => {
    await child.stop()
  })
  return child
}

/** As {@link launchShop}, once it listens. */
export async function startShop(env: Env = {}): Promise<PrintShop> {
  const child = await launchShop(env)
  const line = await child.nextLine('Listening on ')
  return new PrintShop(child, line.replace('Listening on ', ''))
}

/** A running app and its HTTP interface. */
export class PrintShop {
  readonly child: NodeChild
  readonly url: string

  constructor(child: NodeChild, url: string) {
    this.child = child
    this.url = url
  }

  call(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(this.url + path, { ...init, signal: AbortSignal.timeout(callTimeoutMs) })
  }

  post(path: string, body: unknown, headers: Env = {}): Promise<Response> {
    return this.call(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    })
  }

  /** Places an order that must be taken. */
  async order(item: string, quantity = 1): Promise<string> {
    const response = await this.post('/orders', { customer: 'Ada', item, quantity })
    if (response.status !== 202) throw new Error(`${response.status} ${await response.text()}`)
    return (await readJson<{ id: string }>(response)).id
  }

  async find(id: string): Promise<OrderReply> {
    return readJson<OrderReply>(await this.call(`/orders/${id}`))
  }

  async list(query = ''): Promise<OrderReply[]> {
    return (await readJson<{ orders: OrderReply[] }>(await this.call(`/orders${query}`))).orders
  }

  async left(item: string): Promise<number | undefined> {
    const { stock } = await readJson<{ stock: { item: string; quantity: number }[] }>(
      await this.call('/stock'),
    )
    return stock.find((line) => line.item === item)?.quantity
  }

  async price(item: string): Promise<number> {
    const response = await this.call(`/items/${item}`)
    if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`)
    return (await readJson<{ priceCents: number }>(response)).priceCents
  }

  /** @returns what became of the cached price: `done` or `deferred` */
  async changePrice(item: string, priceCents: number): Promise<string> {
    const response = await this.call(`/items/${item}/price`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ priceCents }),
    })
    if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`)
    return (await readJson<{ cache: string }>(response)).cache
  }

  async cluster(): Promise<ClusterReply> {
    return readJson<ClusterReply>(await this.call('/cluster'))
  }

  /** Waits until the order has the status, and returns it. */
  untilStatus(id: string, status: string, deadlineMs = 30_000): Promise<OrderReply> {
    const look = async (): Promise<OrderReply | undefined> => {
      const order = await this.find(id)
      return order.status === status ? order : undefined
    }
    return waitUntil(`order ${id} to be ${status}`, look, { deadlineMs })
  }
}

/** The answer as the test expects it to be; where it is not, its assertions fail. */
export async function readJson<T>(response: Response): Promise<T> {
  return JSON.parse(await response.text())
}

/** Status and error code of an answer, to compare in one go. */
export async function refusal(
  response: Response,
): Promise<{ status: number; code: string; message: string }> {
  const { error } = await readJson<{ error: { code: string; message: string } }>(response)
  return { status: response.status, ...error }
}

import { maskSecrets } from '../errors/mask-secrets.ts'
import { MultinodeError } from '../errors/multinode-error.ts'
import type { CapabilityName } from './capability-name.ts'
import type { Address } from './plugin.ts'
import { ownAddressVariables, type Variable, type Variables } from './variables.ts'

/** Where a backend is when nobody says: as its own tools assume. */
const defaultAddresses: Readonly<Record<string, string>> = {
  redis: 'redis://localhost:6379/0',
  rabbitmq: 'amqp://guest:guest@localhost:5672',
}

export interface ChosenAddress extends Address {
  readonly isDefault: boolean
}

/**
 * The capability's own variable, else the shared one of the backend, else the backend's default; `undefined` for a
 * third party's backend that none of them covers.
 */
export function chooseAddress(
  capability: CapabilityName,
  backend: string,
  variables: Variables,
): ChosenAddress | undefined {
  const variable =
    variables.read(ownAddressVariables(capability, backend)) ?? readSharedAddress(backend, variables)
  if (variable !== undefined) return { url: variable.value, source: variable.name, isDefault: false }
  const url = defaultAddresses[backend]
  return url === undefined ? undefined : { url, source: `the default of ${backend}`, isDefault: true }
}

const rabbitmqParts = ['RABBITMQ_HOST', 'RABBITMQ_PORT', 'RABBITMQ_USER', 'RABBITMQ_PWD', 'RABBITMQ_VHOST']

function readSharedAddress(backend: string, variables: Variables): Variable | undefined {
  const url = variables.read([`${backend.toUpperCase()}_URL`])
  return backend === 'rabbitmq' ? readRabbitmqAddress(url, variables) : url
}

/** A URL or its parts. What comes with the prefix comes first; of the same rank, both are a contradiction. */
function readRabbitmqAddress(url: Variable | undefined, variables: Variables): Variable | undefined {
  const parts = rabbitmqParts.flatMap((name) => variables.read([name]) ?? [])
  const host = variables.read(['RABBITMQ_HOST'])
  const isUrlFirst = url !== undefined && variables.isPrefixed(url)
  const [rival] = parts.filter((part) => !isUrlFirst || variables.isPrefixed(part))
  if (rival === undefined) return url
  const isHostFirst = host !== undefined && variables.isPrefixed(host) && !isUrlFirst
  if (url !== undefined && !isHostFirst) {
    throw new MultinodeError(
      'MISCONFIGURED',
      `${url.name} and ${rival.name} are both set and say the same thing in two ways: keep one of them.`,
      { details: { variables: [url.name, rival.name] } },
    )
  }
  if (host !== undefined) return composeRabbitmqUrl(host, variables)
  throw new MultinodeError(
    'MISCONFIGURED',
    `${rival.name} is set without RABBITMQ_HOST: name the server, or give the whole address as RABBITMQ_URL.`,
    { details: { variable: rival.name } },
  )
}

function composeRabbitmqUrl(host: Variable, variables: Variables): Variable {
  if (/[\s/@]/.test(host.value)) {
    throw new MultinodeError(
      'MISCONFIGURED',
      `${host.name}=${maskSecrets(host.value)} is no host name: give the name alone, or the whole address as RABBITMQ_URL.`,
      { details: { variable: host.name } },
    )
  }
  const port = variables.read(['RABBITMQ_PORT'])
  if (port !== undefined && !isPort(port.value)) {
    throw new MultinodeError(
      'MISCONFIGURED',
      `${port.name}=${port.value} is no port: give a number from 1 to 65535.`,
      { details: { variable: port.name } },
    )
  }
  const part = (name: string, fallback: string): string =>
    encodeURIComponent(variables.read([name])?.value ?? fallback)
  const authority = `${part('RABBITMQ_USER', 'guest')}:${part('RABBITMQ_PWD', 'guest')}@${host.value}:${port?.value ?? '5672'}`
  return { name: host.name, value: `amqp://${authority}/${part('RABBITMQ_VHOST', '/')}` }
}

function isPort(text: string): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 65_535
}

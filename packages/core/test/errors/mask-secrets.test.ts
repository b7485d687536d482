import { describe, expect, test } from 'vitest'
import { maskSecrets, maskSecretsIn } from '../../src/errors/mask-secrets.ts'

const addresses: readonly (readonly [address: string, masked: string])[] = [
  ['redis://localhost:6379/0', 'redis://localhost:6379/0'],
  ['redis://:hunter2@localhost:6379/0', 'redis://:***@localhost:6379/0'],
  ['redis://app:hunter2@localhost:6379/0', 'redis://app:***@localhost:6379/0'],
  ['REDIS://app:hunter2@localhost', 'REDIS://app:***@localhost'],
  ['redis+sentinel://app:hunter2@a:26379,b:26379/main/0', 'redis+sentinel://app:***@a:26379,b:26379/main/0'],
  ['redis://:hunter2@a,redis://:hunter2@b', 'redis://:***@b'],
  ['amqp://guest:guest@localhost:5672/%2F', 'amqp://guest:***@localhost:5672/%2F'],
  ['redis://app:hun@ter2@localhost', 'redis://app:***@localhost'],
  ['redis://app:hun/ter2@localhost', 'redis://:***@localhost'],
  ['redis://app:hun?ter2#@localhost', 'redis://:***@localhost'],
  ['redis://app:hunter2@', 'redis://app:***@'],
  ['redis:/app:hunter2@localhost', '***@localhost'],
  ['app:hunter2@localhost:6379', '***@localhost:6379'],
  [':hunter2@localhost', '***@localhost'],
  ['localhost:6379', 'localhost:6379'],
  ['', ''],
  ['not an address', 'not an address'],
  ['@acme/lock-etcd', '@acme/lock-etcd'],
  ['redis', 'redis'],
  ['redis://h/0?password=hunter2&db=1', 'redis://h/0?password=***&db=1'],
  ['redis://h/0?db=1&sentinelPassword=hunter2', 'redis://h/0?db=1&sentinelPassword=***'],
  ['redis://h/0?sentinel_password=hunter2#x', 'redis://h/0?sentinel_password=***#x'],
  ['amqps://h?passphrase=hunter2', 'amqps://h?passphrase=***'],
  ['https://h?auth_token=hunter2', 'https://h?auth_token=***'],
  ['https://h?clientSecret=hun@ter2', 'https://h?clientSecret=***'],
  ['https://h?pwd=hunter2&pass=hunter2', 'https://h?pwd=***&pass=***'],
  ['https://h?apiKey=hunter2&api_key=hunter2', 'https://h?apiKey=***&api_key=***'],
  ['redis://h?clientName=web', 'redis://h?clientName=web'],
]

describe('maskSecrets', () => {
  test.each(addresses)('%j becomes %j', (address, masked) => {
    expect(maskSecrets(address)).toBe(masked)
  })

  test.each(addresses)('masking %j twice is masking it once', (address, masked) => {
    expect(maskSecrets(maskSecrets(address))).toBe(masked)
  })
})

describe('maskSecretsIn', () => {
  test('masks every address within a text and leaves the rest of it readable', () => {
    expect(maskSecretsIn('redis://:hunter2@a refused, "amqp://x:hunter2@b/v" too: ask bob@example.com')).toBe(
      'redis://:***@a refused, "amqp://x:***@b/v" too: ask bob@example.com',
    )
  })

  test('leaves names of scoped packages alone', () => {
    const text = "Cannot find package '@multinode/connection-redis' imported from /srv/app"
    expect(maskSecretsIn(text)).toBe(text)
  })
})

import { MultinodeError } from '../errors/multinode-error.ts'

/** Words of visible characters, but those that have a meaning in patterns. */
const word = /^[^\s.*#\p{C}]+$/u
const maxLength = 255

/** Words joined by dots: `orders.changed`. At most 255 bytes of UTF-8, which is what AMQP takes. */
export function checkTopic(topic: unknown): string {
  if (typeof topic === 'string' && isShort(topic) && topic.split('.').every((each) => word.test(each)))
    return topic
  throw invalid(
    'topic',
    topic,
    'words of visible characters without * and #, joined by dots, such as orders.changed',
  )
}

/** As a topic, where `*` stands for one word and `#` for none or more. */
export function checkPattern(pattern: unknown): string {
  const isWord = (each: string): boolean => each === '*' || each === '#' || word.test(each)
  if (typeof pattern === 'string' && isShort(pattern) && pattern.split('.').every(isWord)) return pattern
  throw invalid(
    'pattern',
    pattern,
    'words joined by dots, * for one word, # for none or more, such as orders.*',
  )
}

/** Whether the pattern covers the topic, by the rules of AMQP's topic exchange. */
export function matches(pattern: string, topic: string): boolean {
  return matchWords(pattern.split('.'), topic.split('.'))
}

/** Row by row, so that many `#` cost no more than the product of both lengths. */
function matchWords(pattern: readonly string[], topic: readonly string[]): boolean {
  // reaches[n]: the pattern up to here covers the first n words.
  let reaches = [true, ...topic.map(() => false)]
  for (const each of pattern) {
    const next: boolean[] = []
    for (let count = 0; count <= topic.length; count += 1) {
      const before = count > 0 && (reaches[count - 1] ?? false)
      const isCovered =
        each === '#'
          ? (reaches[count] ?? false) || (next[count - 1] ?? false)
          : before && (each === '*' || each === topic[count - 1])
      next.push(isCovered)
    }
    reaches = next
  }
  return reaches[topic.length] ?? false
}

function isShort(text: string): boolean {
  return Buffer.byteLength(text) <= maxLength
}

function invalid(name: string, value: unknown, accepted: string): MultinodeError {
  const shown = typeof value === 'string' ? JSON.stringify(value.slice(0, 80)) : typeof value
  return new MultinodeError(
    'INVALID_ARGUMENT',
    `${name} is ${shown}; it must be ${accepted}, at most ${maxLength} bytes.`,
    { capability: 'pubsub', details: { name } },
  )
}

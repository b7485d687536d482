/** Notes for the next release: they parse, and they name packages that are released. */
import { describe, expect, test } from 'vitest'
import { isPublished, packages, textFiles } from './repository.ts'

function wrongChangeset(path: string, text: string, published: readonly string[]): string[] {
  const parsed = /^---\n(?<bumps>(?:.+\n)*)---\n(?<summary>[\s\S]*)$/.exec(text)?.groups
  if (parsed === undefined) return [`${path} does not begin with a list of packages between two lines of ---`]
  const { bumps = '', summary = '' } = parsed
  const lines = bumps.split('\n').filter(Boolean)
  const wrong = lines.flatMap((line) => {
    const [, name] = /^(?:'([^']+)'|"[^"]+"): (?:major|minor|patch)$/.exec(line) ?? []
    if (name === undefined) return [`${path}: ${line} is not '<package>': major, minor or patch`]
    return published.includes(name) ? [] : [`${path}: ${name} is not published`]
  })
  return [...wrong, ...(summary.trim() === '' ? [`${path} says nothing for the changelog`] : [])]
}

describe('changesets', () => {
  test('parse and name published packages only', () => {
    const published = packages().filter(isPublished)
    const names = published.map(({ manifest }) => manifest.name)
    const notes = textFiles().filter(({ path }) => /^\.changeset\/(?!README).+\.md$/.test(path))
    expect(notes.flatMap(({ path, text }) => wrongChangeset(path, text, names))).toEqual([])
  })
})

describe('the rule can fail', () => {
  const published = ['@multinode/core', '@multinode/lock-redis']
  const good = "---\n'@multinode/core': minor\n'@multinode/lock-redis': patch\n---\n\nLocks.\n"

  test('a good one passes', () => {
    expect(wrongChangeset('x.md', good, published)).toEqual([])
  })

  test.each([
    ['no list', 'Locks.\n'],
    ['an unknown size', good.replace('minor', 'small')],
    ['a private package', good.replace('core', 'testbed')],
    ['a package that does not exist', good.replace('core', 'cor')],
    ['no quotes', good.replaceAll("'", '')],
    ['nothing for the changelog', good.replace('Locks.', '')],
  ])('%s', (_, text) => {
    expect(wrongChangeset('x.md', text, published)).not.toEqual([])
  })
})

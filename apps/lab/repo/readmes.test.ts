/** All READMEs answer the same questions in the same order. */
import { describe, expect, test } from 'vitest'
import { isPublished, type Kind, packages } from './repository.ts'

const order = [
  'Install',
  'Use',
  'Options',
  'Guarantees',
  'Errors',
  'Native client',
  'How it is tested',
  'Licence',
]
/** An adapter needs all; for another package some have no meaning (conformance has no native client). */
const always = ['Install', 'Use', 'How it is tested', 'Licence']

function wrongReadme(folder: string, kind: Kind, text: string): string[] {
  if (text === '') return [`${folder}/README.md is missing`]
  const prose = text.replaceAll(/^```[\s\S]*?^```/gm, '')
  const found = [...prose.matchAll(/^## +(.*?) *$/gm)].map((match) => match[1] ?? '')
  const required = kind === 'adapter' ? order : always
  const inOrder = order.filter((heading) => found.includes(heading))
  const known = found.filter((heading) => order.includes(heading))
  const opening = prose.slice(0, prose.search(/^## /m)).replace(/^# .*$/m, '')
  return [
    ...required.filter((heading) => !found.includes(heading)).map((heading) => `lacks "## ${heading}"`),
    ...found
      .filter((heading) => !order.includes(heading))
      .map((heading) => `"## ${heading}" is not among ours`),
    ...(known.join() === inOrder.join() ? [] : [`order is ${known.join(', ')}`]),
    ...(opening.trim() === '' ? ['says nothing before its first heading'] : []),
  ].map((violation) => `${folder}/README.md: ${violation}`)
}

describe('README of published packages', () => {
  test('has the headings, in order', () => {
    const published = packages().filter(isPublished)
    const violations = published.flatMap(({ folder, kind, files }) =>
      wrongReadme(folder, kind, files.find(({ path }) => path === 'README.md')?.text ?? ''),
    )
    expect(violations).toEqual([])
  })
})

describe('the rule can fail', () => {
  const whole = madeUp(order)

  test('a good one passes; conformance may leave some out, an adapter may not', () => {
    expect(wrongReadme('x', 'adapter', whole)).toEqual([])
    expect(wrongReadme('x', 'conformance', madeUp(always))).toEqual([])
    expect(wrongReadme('x', 'adapter', madeUp(always))).toHaveLength(order.length - always.length)
  })

  test.each([
    ['no README', ''],
    ['a missing heading', madeUp(order.slice(1))],
    ['a heading of its own', madeUp([...order, 'History'])],
    ['another order', madeUp(order.toReversed())],
    ['a heading twice', madeUp(['Install', ...order])],
    ['another spelling', whole.replace('Licence', 'License')],
    ['no opening sentence', whole.replace('What it is.', '')],
  ])('%s', (_, text) => {
    expect(wrongReadme('x', 'adapter', text)).not.toEqual([])
  })

  test('a comment in a code sample is no heading', () => {
    const sample = '```sh\n## Install\n```\n'
    expect(wrongReadme('x', 'adapter', whole + sample)).toEqual([])
  })
})

function madeUp(headings: readonly string[]): string {
  const sections = headings.map((heading) => `## ${heading}\n\nText.\n`)
  return ['# @multinode/x\n', 'What it is.\n', ...sections].join('\n')
}

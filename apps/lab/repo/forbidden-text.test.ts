/**
 * What no file of the repository may contain: work left undone, silenced checks, tests that do not run, traces of
 * somebody's machine. Words are spelt apart below, so that this file does not contain them itself.
 */
import { describe, expect, test } from 'vitest'
import { isCode, type TextFile, textFiles } from './repository.ts'

interface Rule {
  readonly name: string
  readonly pattern: RegExp
  readonly applies: (path: string) => boolean
}

const anywhere = (): boolean => true
/** The lockfile is made by a program, and full of random letters. */
const isWritten = (path: string): boolean => path !== 'pnpm-lock.yaml'
const isTest = (path: string): boolean => isCode(path) && /(?:^|\/)(?:test|e2e|repo)\/|\.test\.ts$/.test(path)
const isApp = (path: string): boolean => path.startsWith('apps/')
const runsTests = (path: string): boolean =>
  isTest(path) || path.startsWith('packages/conformance/src/') || /(?:^|\/)vitest\.[\w.]+$/.test(path)

const rules: readonly Rule[] = [
  { name: 'work left undone', pattern: word('TO', 'DO'), applies: isWritten },
  { name: 'work left undone', pattern: word('FIX', 'ME'), applies: isWritten },
  { name: 'a silenced compiler', pattern: word('@ts-', '(?:ignore|nocheck)'), applies: isWritten },
  {
    name: 'a silenced compiler outside of tests',
    pattern: word('@ts-', 'expect-error'),
    applies: (path) => isCode(path) && !isTest(path),
  },
  // Followed by a letter it is English: "as any other".
  {
    name: 'a cast that gives up types',
    pattern: spelt(String.raw`\bas `, 'any', '\\b(?! [a-z])'),
    applies: isCode,
  },
  {
    name: 'a test that keeps others from running',
    pattern: spelt(String.raw`\.only`, '\\('),
    applies: isCode,
  },
  {
    name: 'a test that does not run',
    pattern: spelt(String.raw`\b(?:describe|test|it)\.`, '(?:skip|todo)\\('),
    applies: isCode,
  },
  {
    name: 'a test that may fail first',
    pattern: spelt(String.raw`\bret`, String.raw`ry:\s*[\d{]`),
    applies: runsTests,
  },
  { name: 'code made from text', pattern: spelt(String.raw`(?<![.\w])ev`, 'al\\('), applies: isCode },
  { name: 'code made from text', pattern: spelt(String.raw`\bnew Func`, 'tion\\('), applies: isCode },
  // A test's child program may print, as text; real calls in tests are the linter's business.
  {
    name: 'output of a library',
    pattern: spelt(String.raw`\bconsole\.`, '(?:log|info|warn|error)\\('),
    applies: (path) => isCode(path) && !isTest(path) && !isApp(path),
  },
  {
    name: "a path of somebody's machine",
    pattern: spelt(String.raw`(?<![\w.}-])/`, String.raw`(?:home/[\w.-]+|root|Users/[\w.-]+)/`),
    applies: anywhere,
  },
  {
    name: 'a registry',
    pattern: spelt(
      String.raw`\b(?:registry|npm|repo|artifactory|nexus)\.(?:npm`,
      String.raw`js|npmmirror|yarnpkg|pkg)\.`,
    ),
    applies: anywhere,
  },
  {
    name: 'a registry',
    pattern: spelt(
      String.raw`//(?:[\w-]+\.)*(?:registry|artifactory|nexus|verdaccio)`,
      String.raw`[.:/\w-]*\.\w`,
    ),
    applies: anywhere,
  },
  {
    name: 'a registry',
    pattern: spelt('(?:npm_config_|NPM_CONFIG_)', '(?:registry|REGISTRY)='),
    applies: anywhere,
  },
  {
    name: 'a registry',
    pattern: /^\s*(?:@[\w-]+:)?registry\s*=/m,
    applies: (path) => /(?:^|\/)\.npmrc$/.test(path),
  },
]

function forbidden(files: readonly TextFile[]): string[] {
  return files.flatMap(({ path, text }) =>
    rules
      .filter(({ applies, pattern }) => applies(path) && pattern.test(text))
      .map(({ name, pattern }) => {
        const found = pattern.exec(text)
        const line = text.slice(0, found?.index).split('\n').length
        return `${path}:${line}: ${name}: ${found?.[0].trim() ?? ''}`
      }),
  )
}

/** A whole word. */
function word(...parts: string[]): RegExp {
  return spelt('(?<![\\w-])', ...parts, '\\b')
}

function spelt(...parts: string[]): RegExp {
  return new RegExp(parts.join(''))
}

describe('forbidden text', () => {
  test('is in no file', () => {
    const files = textFiles()
    const paths = files.map(({ path }) => path)
    expect(paths).toEqual(
      expect.arrayContaining(['packages/core/src/index.ts', 'pnpm-lock.yaml', 'README.md']),
    )
    expect(forbidden(files)).toEqual([])
  })
})

describe('the rules can fail', () => {
  const code = 'packages/core/src/x.ts'
  const unitTest = 'packages/core/test/x.test.ts'

  test.each([
    ['README.md', ['TO', 'DO: later']],
    [code, ['// FIX', 'ME']],
    [code, ['// @ts-', 'ignore']],
    [unitTest, ['// @ts-', 'ignore']],
    [code, ['// @ts-', 'expect-error: why']],
    [code, ['const a = b as ', 'any']],
    [code, ['f(b as ', 'any, c)']],
    [unitTest, ['test.', 'only(']],
    [unitTest, ['describe.', 'skip(']],
    [unitTest, ['it.', 'todo(']],
    [unitTest, ['test("x", { ret', 'ry: 2 }, run)']],
    ['vitest.config.ts', ['ret', 'ry: 2']],
    [code, ['ev', 'al(text)']],
    [code, ['new Func', 'tion(text)']],
    [code, ['console.', 'log(1)']],
    ['docs/x.md', ['see /', 'home/somebody/x']],
    ['docs/x.md', ['in /', 'root/x']],
    ['docs/x.md', ['in /', 'Users/somebody/x']],
    ['docs/x.md', ['at registry.', 'npmjs.org']],
    ['docs/x.md', ['https://npm.pk', 'g.github.com/']],
    ['docs/x.md', ['https://regi', 'stry.example.com/npm/']],
    ['docs/x.md', ['https://x.example.com:4873/, http://nex', 'us.example.com/']],
    ['.ci/run', ['npm_config_', 'registry=x npm test']],
    ['.ci/run', ['export NPM_CONFIG_', 'REGISTRY=x']],
    ['.npmrc', ['@multinode:', 'registry=x']],
  ])('%s with %j', (path, parts) => {
    expect(forbidden([{ path, text: `first\n${parts.join('')}\n` }])).toHaveLength(1)
  })

  test.each([
    [code, 'return this.client.eval(script.source, 1, key)'],
    [code, '// as any other lock'],
    [unitTest, ['// @ts-', 'expect-error: a lock needs a routine'].join('')],
    [unitTest, 'describe.skipIf(!serversAvailable())("single", run)'],
    [code, 'context.skip(true)'],
    [code, 'retryStrategy: 2'],
    ['apps/demo/src/main.ts', ['console.', 'log(1)'].join('')],
    [unitTest, ['console.', 'log(1)'].join('')],
    ['README.md', ['console.', 'log(1)'].join('')],
    ['docs/x.md', 'https://www.npmjs.com/package/ioredis'],
    ['.npmrc', 'fund=false'],
  ])('%s may have %j', (path, text) => {
    expect(forbidden([{ path, text }])).toEqual([])
  })
})

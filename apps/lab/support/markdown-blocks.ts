/** The fenced blocks of a Markdown page, in order. */
export type MarkdownBlock = {
  language: string
  /** What stands behind the language: `run`, `file=src/index.ts`. */
  info: string
  text: string
}

export function markdownBlocks(markdown: string): MarkdownBlock[] {
  const fence = /^```(\w+)[ \t]*([^\n]*)\n([\s\S]*?)^```$/gm
  return [...markdown.matchAll(fence)].map(([, language = '', info = '', text = '']) => ({
    language,
    info: info.trim(),
    text,
  }))
}

import { cpus } from 'node:os'
import type { CaseResult } from './harness.ts'
import type { Figure } from './statistics.ts'

/** What figures of time depend on. */
export function machineFacts(): string {
  const processors = cpus()
  const model = processors[0]?.model.trim() ?? 'unknown processor'
  return `Node ${process.version}, ${processors.length} x ${model}, ${process.platform} ${process.arch}`
}

/** One line a case: median (min to max) of ours, of raw and of each peer, and ours / raw. */
export function formatTable(results: readonly CaseResult[]): string {
  const peers = [...new Set(results.flatMap((result) => Object.keys(result.peers)))]
  const head = ['case', 'unit', 'ours', 'raw', ...peers, 'ours / raw']
  const rows = results.map((result) => [
    result.case,
    `${result.unit}, ${result.better} is better`,
    formatFigure(result.ours),
    formatFigure(result.raw),
    ...peers.map((peer) => formatFigure(result.peers[peer])),
    formatRatio(result),
  ])
  const lines = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)))
  const pad = (line: readonly string[]): string =>
    line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')
  return lines.map((line) => pad(line).trimEnd()).join('\n')
}

function formatFigure(figure: Figure | undefined): string {
  if (figure === undefined) return '-'
  return `${formatNumber(figure.median)} (${formatNumber(figure.min)} to ${formatNumber(figure.max)})`
}

function formatRatio({ ours, raw }: CaseResult): string {
  return raw === undefined || raw.median === 0 ? '-' : formatNumber(ours.median / raw.median)
}

/** Three digits that count, and never an exponent. */
function formatNumber(value: number): string {
  if (value === 0 || Math.abs(value) >= 100) return value.toFixed(0)
  const decimals = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))))
  return value.toFixed(Math.min(decimals, 4))
}

/** What is said of several rounds of one measurement. */
export interface Figure {
  readonly median: number
  readonly min: number
  readonly max: number
}

export function figureOf(samples: readonly number[]): Figure {
  return { median: medianOf(samples), min: Math.min(...samples), max: Math.max(...samples) }
}

/** Of an even number of samples, the mean of the middle two. */
export function medianOf(samples: readonly number[]): number {
  if (samples.length === 0) throw new RangeError('There is no median of nothing.')
  const sorted = samples.toSorted((a, b) => a - b)
  const middle = sorted.slice(Math.ceil(sorted.length / 2) - 1, Math.floor(sorted.length / 2) + 1)
  return middle.reduce((sum, sample) => sum + sample, 0) / middle.length
}

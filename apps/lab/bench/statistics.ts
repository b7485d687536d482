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

/** The sample that such a share of them is at most: 0.5 for the median, 0.99 for the worst but one in a hundred. */
export function quantileOf(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b)
  const sample = sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)]
  if (sample === undefined) throw new RangeError('There is no quantile of nothing.')
  return sample
}

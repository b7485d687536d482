/** A whole number from `min` to `max`, both included: for jitter, where predictability does not matter. */
export function randomBetween(min: number, max: number): number {
  return min + Math.floor(Math.random() * (max - min + 1))
}

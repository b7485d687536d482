/** How large a chaos test is: a slice of it in `npm test`, all of it in `pnpm chaos`. */
export function figure(sizes: { readonly slice: number; readonly full: number }): number {
  return process.env['MULTINODE_CHAOS'] === 'full' ? sizes.full : sizes.slice
}

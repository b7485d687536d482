/** It has no types: as much of them as is used. */
declare module 'flake-idgen' {
  export default class FlakeId {
    constructor(options: { id: number; epoch: number })
    next(): Buffer
  }
}

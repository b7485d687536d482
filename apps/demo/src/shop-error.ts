export type ShopErrorCode =
  | 'UNKNOWN_ITEM'
  | 'OUT_OF_STOCK'
  | 'TOO_MANY'
  | 'KEY_REUSED'
  | 'ITEM_NOT_FOUND'
  | 'ORDER_NOT_FOUND'
  | 'SHEET_NOT_READY'
  | 'PRINT_FAILED'
  | 'STALE_TOKEN'
  | 'DRAINING'

/** What the shop refuses, as a stable word to act on and a sentence to read. */
export class ShopError extends Error {
  override readonly name = 'ShopError'
  readonly code: ShopErrorCode

  constructor(code: ShopErrorCode, message: string) {
    super(message)
    this.code = code
  }
}

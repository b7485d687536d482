import { fileURLToPath } from 'node:url'
import { createCanvas, GlobalFonts, type SKRSContext2D } from '@napi-rs/canvas'
import { encode } from 'uqr'
import type { Order } from './orders.ts'

// A5 at 150 dots per inch.
const widthPx = 874
const heightPx = 1_240
const marginPx = 60
const innerWidthPx = widthPx - 2 * marginPx
const maxLines = 5

const ink = '#1c2430'
const faded = '#68717d'
const accent = '#0b5c72'
const paper = '#fffdf8'

// The fonts come along, because a bare machine has none. Characters that DejaVu lacks show as boxes.
registerFont('Sheet', import.meta.resolve('dejavu-fonts-ttf/ttf/DejaVuSans.ttf'))
registerFont('Sheet Bold', import.meta.resolve('dejavu-fonts-ttf/ttf/DejaVuSans-Bold.ttf'))
registerFont('Sheet Mono', import.meta.resolve('dejavu-fonts-ttf/ttf/DejaVuSansMono.ttf'))

function registerFont(family: string, fileUrl: string): void {
  GlobalFonts.registerFromPath(fileURLToPath(fileUrl), family)
}

/** The sheet that goes with an order, as a PNG. It shows only what never changes, so printing twice gives the same file. */
export async function renderSheet(order: Order): Promise<Buffer> {
  const canvas = createCanvas(widthPx, heightPx)
  const context = canvas.getContext('2d')
  context.textBaseline = 'top'
  drawPaper(context)
  drawHeading(context)
  let y = 250
  y = drawField(context, y, 'Customer', order.customer)
  y = drawField(context, y, 'Item', order.item)
  y = drawField(context, y, 'Quantity', order.quantity.toLocaleString('en'))
  if (order.priceCents !== null) {
    y = drawField(context, y, 'Price', inMoney(order.quantity * order.priceCents))
  }
  drawField(context, y, 'Placed', `${order.placedAt.toISOString().slice(0, 16).replace('T', ' ')} UTC`)
  drawFooter(context, order.id)
  return canvas.encode('png')
}

function drawPaper(context: SKRSContext2D): void {
  context.fillStyle = paper
  context.fillRect(0, 0, widthPx, heightPx)
  context.strokeStyle = ink
  context.lineWidth = 3
  context.strokeRect(24, 24, widthPx - 48, heightPx - 48)
}

function drawHeading(context: SKRSContext2D): void {
  context.fillStyle = accent
  context.fillRect(24, 24, widthPx - 48, 160)
  context.fillStyle = paper
  context.font = '58px "Sheet Bold"'
  context.fillText('Print shop', marginPx, 56)
  context.font = '26px "Sheet"'
  context.fillText('Order sheet', marginPx, 130)
}

/** @returns where the next field starts */
function drawField(context: SKRSContext2D, y: number, label: string, value: string): number {
  context.fillStyle = faded
  context.font = '22px "Sheet"'
  context.fillText(label, marginPx, y)
  context.fillStyle = ink
  context.font = '38px "Sheet"'
  let lineY = y + 34
  for (const line of wrap(context, value)) {
    context.fillText(line, marginPx, lineY)
    lineY += 50
  }
  return lineY + 26
}

function inMoney(cents: number): string {
  return (cents / 100).toLocaleString('en', { style: 'currency', currency: 'EUR' })
}

/** The id, to read and as a QR code to scan. */
function drawFooter(context: SKRSContext2D, orderId: string): void {
  const { data, size } = encode(orderId, { ecc: 'M', border: 0 })
  const modulePx = Math.floor(200 / size)
  const left = widthPx - marginPx - size * modulePx
  const top = heightPx - 70 - size * modulePx
  context.fillStyle = ink
  for (const [row, modules] of data.entries()) {
    for (const [column, isDark] of modules.entries()) {
      if (isDark) context.fillRect(left + column * modulePx, top + row * modulePx, modulePx, modulePx)
    }
  }
  context.fillStyle = faded
  context.font = '22px "Sheet"'
  context.fillText('Order', marginPx, heightPx - 128)
  context.fillStyle = ink
  context.font = '22px "Sheet Mono"'
  context.fillText(orderId, marginPx, heightPx - 96)
}

/** Breaks between words, and within a word that is wider than the sheet. */
function wrap(context: SKRSContext2D, text: string): string[] {
  const fits = (line: string): boolean => context.measureText(line.trimEnd()).width <= innerWidthPx
  const pieces = text.split(/(?<= )/).flatMap((word) => (fits(word) ? [word] : graphemes(word)))
  const lines: string[] = []
  let line = ''
  for (const piece of pieces) {
    if (fits(line + piece)) {
      line += piece
    } else {
      lines.push(line)
      line = piece
    }
  }
  lines.push(line)
  return lines.length <= maxLines ? lines : [...lines.slice(0, maxLines - 1), '…']
}

function graphemes(text: string): string[] {
  return [...new Intl.Segmenter().segment(text)].map(({ segment }) => segment)
}

import { type ChannelModel, type ConfirmChannel, connect } from 'amqplib'

export interface RawChannel extends AsyncDisposable {
  readonly model: ChannelModel
  readonly channel: ConfirmChannel
}

/** What an app has without this library: a connection and a channel of amqplib, which end with the server. */
export async function rawChannel(url: string): Promise<RawChannel> {
  const model = await connect(url)
  model.on('error', () => {})
  const channel = await model.createConfirmChannel()
  channel.on('error', () => {})
  return {
    model,
    channel,
    [Symbol.asyncDispose]: async () => {
      await model.close().catch(() => {})
    },
  }
}

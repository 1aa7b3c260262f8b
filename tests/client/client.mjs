// Phoenix's own JavaScript client, with what a test needs to wait for and to look at.

import { Socket } from "phoenix";
import WebSocket from "ws";

import { within } from "./server.mjs";

/** The time-out of a push that gets no reply. Its timer keeps the process alive for so long. */
export const UNANSWERED = 100;

/** What has happened, in order, and may be waited for. */
export class Record {
  items = [];
  #wake = () => {};

  push(item) {
    this.items.push(item);
    this.#wake();
  }

  /** The first item for which `matches` holds, now or later. */
  async first(what, matches = () => true) {
    return (await this.atLeast(1, what, matches))[0];
  }

  /** Those for which `matches` holds, once there are `count` of them. */
  async atLeast(count, what, matches = () => true) {
    const enough = async () => {
      for (;;) {
        const found = this.items.filter(matches);
        if (found.length >= count) return found;
        await new Promise((wake) => {
          const others = this.#wake;
          this.#wake = () => {
            others();
            wake();
          };
        });
      }
    };
    return within(enough(), what);
  }
}

/** A connected socket. Options are the official client's, and `vsn` picks the serializer. */
export async function connect(server, { vsn = "2.0.0", ...options } = {}) {
  const client = new Client(server, vsn, options);
  client.socket.connect();
  await client.opened.first("the socket to open");
  return client;
}

class Client {
  /** Every message from the server, decoded, before any channel filters it. */
  messages = new Record();
  opened = new Record();
  /** Close events, with their codes. */
  closed = new Record();

  constructor(server, vsn, options) {
    const serializer = vsn === "1.0.0" ? V1 : {};
    const transport = WebSocket;
    this.socket = new Socket(server.socketUrl, { transport, vsn, ...serializer, ...options });
    this.socket.onMessage((message) => this.messages.push(message));
    this.socket.onOpen(() => this.opened.push(true));
    this.socket.onClose((event) => this.closed.push(event));
  }

  channel(topic, params = {}) {
    return this.socket.channel(topic, params);
  }

  /** A channel that has been joined. */
  async join(topic, params) {
    const channel = this.channel(topic, params);
    const { status, response } = await outcome(channel.join());
    if (status !== "ok") throw new Error(`joining ${topic}: ${status} ${JSON.stringify(response)}`);
    return channel;
  }

  /** Sends a message that belongs to no channel object and resolves with its reply. */
  async raw(topic, event, payload = {}, joinRef = null) {
    const ref = this.socket.makeRef();
    this.socket.push({ topic, event, payload, ref, join_ref: joinRef });
    const message = await this.messages.first(
      `a reply to ${event} on ${topic}`,
      (message) => message.event === "phx_reply" && message.ref === ref,
    );
    return { ...message.payload, joinRef: message.join_ref };
  }

  disconnect() {
    const closed = new Promise((resolve) => this.socket.disconnect(resolve));
    return within(closed, "the socket to close");
  }
}

/** How a push or a join ended: its reply's status and response, or the status `timeout`. */
export function outcome(push) {
  const ended = new Promise((resolve) => {
    for (const status of ["ok", "error", "timeout"]) {
      push.receive(status, (response) => resolve({ status, response }));
    }
  });
  return within(ended, `a reply to ${push.event}`);
}

/** What a channel hears under one event. */
export function listen(channel, event) {
  const record = new Record();
  channel.on(event, (payload) => record.push(payload));
  return record;
}

// The client ships only the second version of the serializer. This is the first: an object with
// four keys, without `join_ref`.
const V1 = {
  encode: ({ topic, event, payload, ref }, callback) =>
    callback(JSON.stringify({ topic, event, payload, ref })),
  decode: (text, callback) => callback(JSON.parse(text)),
};

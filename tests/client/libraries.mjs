// Client libraries that others wrote, each made to look alike: what a test asks of them stands at the
// foot of `others.test.mjs`.
//
//   connect(url)           a client, on its way to be connected
//   client.join(topic, params)  a channel; how each of its joins ended, and what it hears, is recorded
//   channel.push(event, payload)  resolves with the reply's status and response
//   channel.leave()        resolves when the client has its answer
//   client.disconnect()

import { createRequire } from "node:module";
import WebSocket from "ws";

import { listen, outcome, Record } from "./client.mjs";

const require = createRequire(import.meta.url);

// As soon as it can be, so that no test waits for a client's patience.
const AT_ONCE = { reconnectAfterMs: () => 20, rejoinAfterMs: () => 20 };

/** Phoenix's own client, and those that were made from it. `begin` and `end` are its channel's verbs. */
function phoenixLike(name, Socket, { begin = "join", end = "leave", options = {} } = {}) {
  return {
    name,
    answers: true,
    connect(url) {
      const settings = { transport: WebSocket, params: { token: "a b&c" }, ...AT_ONCE, ...options };
      const socket = new Socket(url, settings);
      socket.connect();
      return {
        join(topic, params) {
          const channel = socket.channel(topic, params);
          const joins = new Record();
          const joined = channel[begin]();
          // By the reply rather than by `receive`, which tells of the first join alone in some.
          for (const status of ["ok", "error"]) {
            joined.receive(status, (response) => joins.push({ status, response }));
          }
          return {
            joins,
            listen: (event) => listen(channel, event),
            push: (event, payload) => outcome(channel.push(event, payload)),
            leave: () => outcome(channel[end]()),
          };
        },
        disconnect: () => socket.disconnect(),
      };
    },
  };
}

/** Supabase's client of today, which tells how a push ended but not what was answered. */
function realtime(name, { RealtimeClient, RealtimeChannel }) {
  return {
    name,
    answers: false,
    connect(url) {
      const params = { apikey: "a b&c" };
      const client = new RealtimeClient(url, {
        transport: WebSocket, vsn: "1.0.0", params, disconnectOnEmptyChannelsAfterMs: 500, ...AT_ONCE,
      });
      client.connect();
      return {
        join(topic, params) {
          // By itself it joins topics that begin with `realtime:`, which the demo has not.
          const channel = new RealtimeChannel(topic, { config: {} }, client);
          channel.updateJoinPayload(params);
          client.channels.push(channel);
          const joins = new Record();
          channel.subscribe((status, error) => {
            if (status === "SUBSCRIBED") joins.push({ status: "ok", response: {} });
            if (status === "CHANNEL_ERROR" && error?.cause) {
              joins.push({ status: "error", response: error.cause });
            }
          });
          return {
            joins,
            listen(event) {
              const record = new Record();
              channel.on(event, {}, (payload) => record.push(payload));
              return record;
            },
            async push(event, payload) {
              return { status: await channel.send({ type: event, ...payload }) };
            },
            leave: () => channel.unsubscribe(),
          };
        },
        disconnect: () => client.disconnect(),
      };
    },
  };
}

// Some look for the browser's window when they are loaded or made.
globalThis.window ??= globalThis;

// Some leave timers behind when they disconnect, which are not to keep the tests from ending.
for (const name of ["setTimeout", "setInterval"]) {
  const set = globalThis[name];
  globalThis[name] = (...settings) => set(...settings).unref();
}

export const libraries = [
  ...["1.2", "1.3", "1.4", "1.5", "1.6", "1.7"].map((version) =>
    phoenixLike(`phoenix ${version}`, require(`phoenix-${version}`).Socket)),
  phoenixLike("phoenix 1.8", require("phoenix").Socket),
  phoenixLike("phoenix-channels", require("phoenix-channels").Socket),
  phoenixLike("phoenix-socket", require("phoenix-socket").Socket),
  phoenixLike("realtime-js 1", require("realtime-js-1").RealtimeClient, {
    begin: "subscribe",
    end: "unsubscribe",
  }),
  realtime("realtime-js 2, vsn 1.0.0", require("@supabase/realtime-js")),
];

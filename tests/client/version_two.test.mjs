// What only the second version of the protocol can do: tell the joins of a topic apart, and carry
// bytes that are no JSON.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";

import { connect, listen, outcome, UNANSWERED } from "./client.mjs";
import { Server } from "./server.mjs";

describe("vsn 2.0.0 alone", { timeout: 120_000 }, () => {
  let server;
  let client;
  before(async () => { server = await Server.start(); });
  after(() => server?.kill());
  afterEach(async () => {
    await client?.disconnect();
    client = undefined;
  });

  // The official client leaves before it joins again; other clients do not.
  it("closes a channel when its topic is joined again without a leave", async () => {
    client = await connect(server);
    const before = await client.join("room:lobby", { name: "before" });
    const closed = listen(before, "phx_close");
    const joinRef = before.joinRef();
    const join = await client.raw("room:lobby", "phx_join", { name: "after" }, "again");
    assert.deepEqual([join.status, join.response, join.joinRef], ["ok", {}, "again"]);
    await closed.first("the old channel's phx_close");

    client.socket.push({
      topic: "room:lobby", event: "new_msg", payload: { body: "one of me" }, join_ref: "again",
    });
    const says = ({ event }) => event === "new_msg";
    const message = await client.messages.first("the message", says);
    assert.deepEqual(message.payload, { body: "one of me", name: "after" });
    // A second copy would have come before the answer to what is sent now.
    await client.raw("room:lobby", "ignore", { name: "nobody" }, "again");
    assert.equal(client.messages.items.filter(says).length, 1);
    const closes = client.messages.items.filter(({ event }) => event === "phx_close");
    assert.deepEqual(closes.map(({ join_ref, ref }) => [join_ref, ref]), [[joinRef, joinRef]]);
  });

  // A version 1 client cannot do this: the late phx_close of the old channel names no join, and the
  // client takes it for the new one's.
  it("replaces a channel when its topic is joined again", async () => {
    client = await connect(server);
    const before = await client.join("room:lobby", { name: "before" });
    const joinRef = before.joinRef();
    const heardBefore = listen(before, "new_msg");
    const replacement = await client.join("room:lobby", { name: "after" });
    const heard = listen(replacement, "new_msg");
    const closing = ({ event }) => event === "phx_close";
    await client.messages.first("the old channel's phx_close", closing);

    replacement.push("new_msg", { body: "one of me" });
    assert.deepEqual(await heard.first("the message"), { body: "one of me", name: "after" });
    await outcome(replacement.push("ignore", { name: "nobody" }));
    assert.equal(heard.items.length, 1);
    assert.equal(heardBefore.items.length, 0);
    const closes = client.messages.items.filter(closing);
    assert.deepEqual(closes.map(({ join_ref, ref }) => [join_ref, ref]), [[joinRef, joinRef]]);
    assert.equal(replacement.state, "joined");
  });

  it("drops what was meant for an earlier join", async () => {
    client = await connect(server);
    const before = await client.join("ping:a");
    const stale = before.joinRef();
    const replacement = await client.join("ping:a");
    client.socket.push({
      topic: "ping:a", event: "ping", payload: {}, ref: "stale", join_ref: stale,
    });
    // Messages of one socket to one channel are handled in order.
    await outcome(replacement.push("ping", {}));
    assert.deepEqual(client.messages.items.filter(({ ref }) => ref === "stale"), []);
  });

  for (const size of [0, 1, 125, 126, 65_535, 65_536, 200_000]) {
    it(`echoes ${size} bytes unchanged`, async () => {
      client = await connect(server);
      const channel = await client.join("ping:bytes");
      const bytes = Uint8Array.from({ length: size }, (_, index) => (index * 31) % 256);
      const { status, response } = await outcome(channel.push("echo", bytes.buffer));
      assert.equal(status, "ok");
      assert.ok(response instanceof ArrayBuffer);
      assert.ok(Buffer.from(response).equals(Buffer.from(bytes)));
    });
  }

  it("answers text and bytes on one channel in the order they came", async () => {
    client = await connect(server);
    const channel = await client.join("ping:bytes");
    const order = [];
    await Promise.all([
      channel.push("echo", Uint8Array.of(1).buffer).receive("ok", () => order.push("bytes")),
      channel.push("echo", { text: 1 }).receive("ok", () => order.push("text")),
      channel.push("echo", Uint8Array.of(2).buffer).receive("ok", () => order.push("bytes")),
    ].map(outcome));
    assert.deepEqual(order, ["bytes", "text", "bytes"]);
  });

  it("crashes a channel with bytes where it wants JSON", async () => {
    client = await connect(server, { rejoinAfterMs: () => 10 });
    const channel = await client.join("room:lobby");
    const errors = listen(channel, "phx_error");
    channel.push("new_msg", Uint8Array.of(1, 2, 3).buffer, UNANSWERED);
    await errors.first("phx_error");
    assert.equal(client.closed.items.length, 0);
  });
});

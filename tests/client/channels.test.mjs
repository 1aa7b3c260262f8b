// What an application of the official client relies on, through both serializers.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";

import { connect, listen, outcome, UNANSWERED } from "./client.mjs";
import { Server } from "./server.mjs";

for (const vsn of ["1.0.0", "2.0.0"]) {
  describe(`vsn ${vsn}`, { timeout: 120_000 }, () => {
    let server;
    let clients = [];
    const client = async (options) => {
      const connected = await connect(server, { vsn, ...options });
      clients.push(connected);
      return connected;
    };

    before(async () => { server = await Server.start(); });
    after(() => server?.kill());
    afterEach(async () => {
      await Promise.all(clients.map((client) => client.disconnect()));
      clients = [];
    });

    it("joins an open room", async () => {
      const { status, response } = await outcome((await client()).channel("room:lobby").join());
      assert.equal(status, "ok");
      assert.deepEqual(response, {});
    });

    it("is refused a closed room, with the reason, and let in with a name", async () => {
      const ada = await client();
      const refused = ada.channel("room:court");
      const { status, response } = await outcome(refused.join());
      assert.equal(status, "error");
      assert.deepEqual(response, { reason: "unauthorized" });
      refused.leave(); // Otherwise the client asks again and again.

      await ada.join("room:court", { name: "Ada" });
    });

    it("is refused a topic that nobody serves", async () => {
      const channel = (await client()).channel("nothing:here");
      const { status, response } = await outcome(channel.join());
      channel.leave();
      assert.equal(status, "error");
      assert.deepEqual(response, { reason: "unmatched topic" });
    });

    it("is answered what it pushes", async () => {
      const channel = await (await client()).join("ping:a");
      const { status, response } = await outcome(channel.push("ping", {}));
      assert.equal(status, "ok");
      assert.deepEqual(response, { ping: "pong" });
    });

    it("is answered in order, however much is under way", async () => {
      const channel = await (await client()).join("ping:a");
      const order = [];
      const pushes = Array.from({ length: 200 }, (_, number) =>
        outcome(channel.push("echo", { number }).receive("ok", (echo) => order.push(echo.number))));
      await Promise.all(pushes);
      assert.deepEqual(order, Array.from({ length: 200 }, (_, number) => number));
    });

    it("pushes before the join is answered, and is heard after it", async () => {
      const channel = (await client()).channel("ping:a");
      channel.join();
      const { response } = await outcome(channel.push("ping", {}));
      assert.deepEqual(response, { ping: "pong" });
    });

    it("has an error reply for a message to a topic it has not joined", async () => {
      const reply = await (await client()).raw("room:lobby", "new_msg", { body: "?" }, "1");
      assert.equal(reply.status, "error");
      assert.deepEqual(reply.response, { reason: "unmatched topic" });
      assert.equal(reply.joinRef ?? null, null);
    });

    it("hears its own message and everybody else's, with the sender's name", async () => {
      const [ada, bob] = [await client(), await client()];
      const adas = await ada.join("room:lobby", { name: "Ada" });
      const bobs = await bob.join("room:lobby");
      const [heardByAda, heardByBob] = [listen(adas, "new_msg"), listen(bobs, "new_msg")];

      adas.push("new_msg", { body: "hello" });
      const expected = { body: "hello", name: "Ada" };
      assert.deepEqual(await heardByAda.first("Ada's own message"), expected);
      assert.deepEqual(await heardByBob.first("Ada's message"), expected);

      bobs.push("new_msg", { body: "who is there?" });
      const answer = (message) => message.name === "anonymous";
      const answered = { body: "who is there?", name: "anonymous" };
      assert.deepEqual(await heardByAda.first("Bob's message", answer), answered);
    });

    it("hears one sender's messages once each and in order", async () => {
      const [ada, bob] = [await client(), await client()];
      const adas = await ada.join("room:lobby", { name: "Ada" });
      const heard = listen(await bob.join("room:lobby"), "new_msg");
      const bodies = Array.from({ length: 200 }, (_, number) => `message ${number}`);
      for (const body of bodies) adas.push("new_msg", { body });
      adas.push("new_msg", { body: "end" });
      await heard.first("the last message", ({ body }) => body === "end");
      assert.deepEqual(heard.items.map(({ body }) => body), [...bodies, "end"]);
    });

    it("hears nothing of other rooms", async () => {
      const [ada, bob] = [await client(), await client()];
      const inCourt = await ada.join("room:court", { name: "Ada" });
      const inLobby = await ada.join("room:lobby", { name: "Ada" });
      const heard = listen(await bob.join("room:lobby"), "new_msg");
      await said(inCourt, "in the court");
      inLobby.push("new_msg", { body: "in the lobby" });
      await heard.first("the lobby's message", ({ body }) => body === "in the lobby");
      assert.equal(heard.items.length, 1);
    });

    it("carries every kind of text", async () => {
      const [ada, bob] = [await client(), await client()];
      const name = "Ünïcödé \"quoted\" \\ 🪶";
      const adas = await ada.join("room:lobby", { name });
      const heard = listen(await bob.join("room:lobby"), "new_msg");
      const body = "سی مرغ · 三十羽 · 👩‍👩‍👧 · e\u0301 · \u0000\u0001\u001f\u2028\u2029 · \"\\/ · \r\n\t";
      adas.push("new_msg", { body });
      assert.deepEqual(await heard.first("the message"), { body, name });
    });

    it("carries a body of 200 KB", async () => {
      const [ada, bob] = [await client(), await client()];
      const adas = await ada.join("room:lobby", { name: "Ada" });
      const heard = listen(await bob.join("room:lobby"), "new_msg");
      const body = "thirty birds, پرنده ".repeat(10_000).slice(0, 200_000);
      adas.push("new_msg", { body });
      assert.equal((await heard.first("the long message")).body, body);
    });

    it("echoes any JSON unchanged", async () => {
      const channel = await (await client()).join("ping:a");
      const payload = {
        nothing: null, yes: true, list: [1, -2.5, 1e100, []], deep: { er: { "": "empty key" } },
      };
      assert.deepEqual((await outcome(channel.push("echo", payload))).response, payload);
    });

    it("hears who joins, but not those it ignores", async () => {
      const [ada, bob] = [await client(), await client()];
      const room = await ada.join("room:lobby", { name: "Ada" });
      const [joined, heard] = [listen(room, "user_joined"), listen(room, "new_msg")];
      await bob.join("room:lobby", { name: "Bob" });
      await joined.first("Bob's arrival", ({ name }) => name === "Bob");

      assert.equal((await outcome(room.push("ignore", { name: "Mallory" }))).status, "ok");
      const mallory = await client();
      const mallorys = await mallory.join("room:lobby", { name: "Mallory" });
      mallorys.push("new_msg", { body: "I am here" });
      // Her arrival was broadcast before her message, by the same channel. Once the message is
      // here, the arrival is at worst in the mailbox of Ada's channel, before the next push.
      await heard.first("Mallory's message", ({ name }) => name === "Mallory");
      await outcome(room.push("ignore", { name: "Nobody" }));
      assert.deepEqual(joined.items.filter(({ name }) => name === "Mallory"), []);
    });

    it("is ignored by one, not by all", async () => {
      const [ada, bob, mallory] = [await client(), await client(), await client()];
      const adas = await ada.join("room:lobby", { name: "Ada" });
      const joined = listen(await bob.join("room:lobby", { name: "Bob" }), "user_joined");
      await outcome(adas.push("ignore", { name: "Mallory" }));
      await mallory.join("room:lobby", { name: "Mallory" });
      await joined.first("Mallory's arrival", ({ name }) => name === "Mallory");
    });

    it("leaves: the server closes the channel and sends it nothing more", async () => {
      const [ada, bob] = [await client(), await client()];
      const bobs = await bob.join("room:lobby", { name: "Bob" });
      const adas = await ada.join("room:lobby", { name: "Ada" });
      assert.equal((await outcome(adas.leave())).status, "ok");
      await ada.messages.first("phx_close", ({ event, topic }) =>
        event === "phx_close" && topic === "room:lobby");
      await said(bobs, "while Ada was away");
      const reply = await ada.raw("room:lobby", "new_msg", { body: "?" });
      assert.deepEqual(reply.response, { reason: "unmatched topic" });

      await ada.join("room:lobby", { name: "Ada" });
      await said(bobs, "welcome back");
      // Bob's messages come in order, so by the second one the first is not on its way any more.
      const heard = () => ada.messages.items.filter(({ event }) => event === "new_msg");
      await ada.messages.first("Bob's second message", ({ event }) => event === "new_msg");
      assert.deepEqual(heard().map(({ payload }) => payload.body), ["welcome back"]);
    });

    it("may leave a topic it never joined", async () => {
      const reply = await (await client()).raw("room:lobby", "phx_leave");
      assert.deepEqual([reply.status, reply.response], ["ok", {}]);
    });

    it("rejoins by itself a channel that crashed; others do not notice", async () => {
      const ada = await client({ rejoinAfterMs: () => 10 });
      const bystander = await ada.join("ping:b");
      const channel = await ada.join("ping:a");
      const bystandersErrors = listen(bystander, "phx_error");
      const errors = listen(channel, "phx_error");
      const rejoined = listen(channel, "phx_reply");
      channel.push("crash", {}, UNANSWERED);
      await errors.first("phx_error");
      await rejoined.first("the rejoin's reply", ({ status }) => status === "ok");
      assert.deepEqual((await outcome(channel.push("ping", {}))).response, { ping: "pong" });
      assert.deepEqual((await outcome(bystander.push("ping", {}))).response, { ping: "pong" });
      assert.equal(bystander.state, "joined");
      assert.equal(ada.closed.items.length, 0);
      assert.equal(bystandersErrors.items.length, 0);
    });

    it("crashes its channel with an event that the channel does not know", async () => {
      const ada = await client({ rejoinAfterMs: () => 10 });
      const channel = await ada.join("ping:a");
      const errors = listen(channel, "phx_error");
      channel.push("no such event", {}, UNANSWERED);
      await errors.first("phx_error");
      assert.equal(ada.closed.items.length, 0);
    });

    it("crashes its channel with a payload that the channel cannot read", async () => {
      const ada = await client({ rejoinAfterMs: () => 10 });
      const channel = await ada.join("room:lobby");
      const errors = listen(channel, "phx_error");
      channel.push("new_msg", { body: 7 }, UNANSWERED);
      await errors.first("phx_error");
      assert.equal(ada.closed.items.length, 0);
    });

    it("has its heartbeats answered, without a channel too", async () => {
      const ada = await client({ heartbeatIntervalMs: 20 });
      const answers = await ada.messages.atLeast(3, "three heartbeats' answers",
        ({ topic, event }) => topic === "phoenix" && event === "phx_reply");
      for (const { payload, join_ref } of answers) {
        assert.deepEqual(payload, { status: "ok", response: {} });
        assert.equal(join_ref ?? null, null);
      }
      assert.equal(ada.closed.items.length, 0);
    });

    it("holds many channels on one socket, each with its own replies", async () => {
      const ada = await client();
      const topics = Array.from({ length: 50 }, (_, number) => `ping:${number}`);
      const channels = await Promise.all(topics.map((topic) => ada.join(topic)));
      const echoes = await Promise.all(channels.map((channel) =>
        outcome(channel.push("echo", { topic: channel.topic }))));
      assert.deepEqual(echoes.map(({ response }) => response.topic), topics);
    });
  });
}

/** Says something in a room and resolves once the room has repeated it to its speaker. */
async function said(channel, body) {
  const heard = listen(channel, "new_msg");
  channel.push("new_msg", { body });
  await heard.first(`the echo of "${body}"`, (message) => message.body === body);
}

// Servers go away, come back, and sometimes do not answer. The official client copes; these tests
// show that it copes with this server.

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";

import { connect, listen, outcome } from "./client.mjs";
import { Server } from "./server.mjs";

for (const vsn of ["1.0.0", "2.0.0"]) {
  describe(`outages, vsn ${vsn}`, { timeout: 120_000 }, () => {
    let server;
    let client;
    beforeEach(async () => { server = await Server.start(); });
    afterEach(async () => {
      client?.socket.disconnect();
      client = undefined;
      await server?.kill();
    });

    it("sees 1012 when the server stops, and is back in its rooms after the start", async () => {
      client = await connect(server, { vsn });
      const room = await client.join("room:lobby", { name: "Ada" });
      const ping = await client.join("ping:a");
      const [rejoins, heard] = [listen(room, "phx_reply"), listen(room, "new_msg")];
      const pings = listen(ping, "phx_reply");

      assert.equal(await server.stop(), 0);
      assert.equal((await client.closed.first("the close")).code, 1012);
      await server.start();

      await client.opened.atLeast(2, "the second connection");
      await rejoins.first("the room's rejoin", ({ status }) => status === "ok");
      await pings.first("the ping channel's rejoin", ({ status }) => status === "ok");
      room.push("new_msg", { body: "still here" });
      assert.deepEqual(await heard.first("the message"), { body: "still here", name: "Ada" });
      assert.deepEqual((await outcome(ping.push("ping", {}))).response, { ping: "pong" });
    });

    it("sees 1012 without a channel too", async () => {
      client = await connect(server, { vsn });
      assert.equal(await server.stop(), 0);
      assert.equal((await client.closed.first("the close")).code, 1012);
    });

    it("sends after the outage what it pushed during it", async () => {
      client = await connect(server, { vsn });
      const ping = await client.join("ping:a");
      await server.stop();
      await client.closed.first("the close");
      const push = outcome(ping.push("echo", { sent: "while away" }, 60_000));
      await server.start();
      assert.deepEqual((await push).response, { sent: "while away" });
    });

    it("times out a push that is not answered, and takes no late answer for it", async () => {
      client = await connect(server, { vsn });
      const channel = await client.join("ping:a");
      server.freeze();
      const push = channel.push("echo", { late: true }, 50);
      const statuses = [];
      push.receive("ok", () => statuses.push("ok"));
      assert.equal((await outcome(push)).status, "timeout");
      server.thaw();
      // The late reply has come; by the next one's, it can no longer be on its way.
      assert.equal((await outcome(channel.push("ping", {}))).status, "ok");
      const late = ({ event, payload }) => event === "phx_reply" && payload.response?.late;
      assert.equal(client.messages.items.filter(late).length, 1);
      assert.deepEqual(statuses, []);
    });

    // A version 1 client cannot: the phx_close of the join it gave up names no join, and the client
    // takes it for the next one's.
    if (vsn === "2.0.0") {
      it("joins again when a join was not answered in time", async () => {
        client = await connect(server, { vsn, rejoinAfterMs: () => 20 });
        server.freeze();
        const channel = client.channel("ping:a");
        const replies = listen(channel, "phx_reply");
        assert.equal((await outcome(channel.join(50))).status, "timeout");
        channel.timeout = 60_000; // The next ones may take their time.
        channel.joinPush.timeout = 60_000;
        server.thaw();
        await replies.first("the rejoin's reply", ({ status }) => status === "ok");
        assert.deepEqual((await outcome(channel.push("ping", {}))).response, { ping: "pong" });
      });
    }

    it("leaves a connection whose heartbeat is not answered, and comes back", async () => {
      client = await connect(server, { vsn, heartbeatIntervalMs: 50 });
      const channel = await client.join("ping:a");
      const replies = listen(channel, "phx_reply");
      const errors = listen(channel, "phx_error");
      server.freeze();
      await errors.first("the heartbeat's time-out");
      client.socket.heartbeatIntervalMs = 30_000;
      server.thaw();
      await client.opened.atLeast(2, "the second connection");
      await replies.first("the rejoin's reply", ({ status }) => status === "ok");
      assert.deepEqual((await outcome(channel.push("ping", {}))).response, { ping: "pong" });
    });
  });
}

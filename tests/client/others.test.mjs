// What clients of other versions, and other libraries, rely on: each does the same.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";

import { libraries } from "./libraries.mjs";
import { Server, within } from "./server.mjs";

for (const library of libraries) {
  describe(library.name, { timeout: 60_000 }, () => {
    let server;
    let clients = [];
    const connect = () => {
      const client = library.connect(server.socketUrl);
      clients.push(client);
      return client;
    };
    const join = async (client, topic, params = {}) => {
      const channel = client.join(topic, params);
      const { status, response } = await channel.joins.first(`the join of ${topic}`);
      assert.equal(status, "ok", JSON.stringify(response));
      return channel;
    };

    before(async () => { server = await Server.start(); });
    after(() => server?.kill());
    afterEach(async () => {
      for (const client of clients) client.disconnect();
      clients = [];
    });

    it("joins, or is refused with a reason", async () => {
      const client = connect();
      await join(client, "room:lobby");
      const refused = client.join("room:court", {});
      const { status, response } = await refused.joins.first("the refusal");
      assert.deepEqual([status, response], ["error", { reason: "unauthorized" }]);
      await refused.leave(); // Otherwise the client asks again and again.
      await join(client, "room:park", { name: "Ada" });
    });

    it("is answered what it pushes, ok or error", async () => {
      const client = connect();
      const room = await join(client, "room:lobby", { name: "Ada" });
      const ping = await join(client, "ping:a");
      assert.equal((await ping.push("ping", {})).status, "ok");
      const echoed = await ping.push("echo", { number: 7 });
      assert.equal(echoed.status, "ok");
      if (library.answers) assert.deepEqual(echoed.response, { number: 7 });
      // A room lets one ignore a thousand names.
      const ignored = Array.from({ length: 1_001 }, (_, n) => room.push("ignore", { name: `${n}` }));
      const statuses = (await within(Promise.all(ignored), "the answers")).map((it) => it.status);
      assert.deepEqual([statuses[999], statuses[1_000]], ["ok", "error"]);
    });

    it("hears what others broadcast, and itself", async () => {
      const [ada, bob] = [connect(), connect()];
      const [adas, bobs] = [await join(ada, "room:lobby", { name: "Ada" }), await join(bob, "room:lobby")];
      const heard = [adas, bobs].map((channel) => channel.listen("new_msg"));
      await adas.push("new_msg", { body: "سی مرغ" });
      for (const record of heard) {
        const { name, body } = await record.first("the message");
        assert.deepEqual([name, body], ["Ada", "سی مرغ"]);
      }
    });

    it("leaves, hears no more, and joins again", async () => {
      const [ada, bob] = [connect(), connect()];
      const bobs = await join(bob, "room:lobby", { name: "Bob" });
      const ping = await join(ada, "ping:a");
      const left = await join(ada, "room:lobby", { name: "Ada" });
      const heard = left.listen("new_msg");
      await left.leave();
      // A client of the first version can't tell whose `phx_close` it gets: it is here by then.
      await ping.push("ping", {});
      await bobs.push("new_msg", { body: "while Ada is away" });
      const again = await join(ada, "room:lobby", { name: "Ada" });
      const heardAgain = again.listen("new_msg");
      await bobs.push("new_msg", { body: "welcome back" });
      assert.equal((await heardAgain.first("the message")).body, "welcome back");
      assert.deepEqual(heard.items, []);
    });

    it("joins a channel that crashed again, by itself", async () => {
      const client = connect();
      const bystander = await join(client, "ping:b");
      const channel = await join(client, "ping:a");
      channel.push("crash", {}).catch(() => {}); // Nobody answers it.
      await channel.joins.atLeast(2, "the rejoin", ({ status }) => status === "ok");
      assert.equal((await channel.push("ping", {})).status, "ok");
      assert.equal((await bystander.push("ping", {})).status, "ok");
      assert.equal(bystander.joins.items.length, 1);
    });

    it("comes back after a restart of the server", async () => {
      const client = connect();
      const channel = await join(client, "ping:a");
      const isOk = ({ status }) => status === "ok";
      for (const end of ["stop", "kill"]) {
        const joins = channel.joins.items.filter(isOk).length;
        await server[end]();
        await server.start();
        await channel.joins.atLeast(joins + 1, `the rejoin after ${end}`, isOk);
        assert.equal((await channel.push("ping", {})).status, "ok");
      }
    });
  });
}

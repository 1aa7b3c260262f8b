// The server under test: the real `simurgh` binary on a port of its own.
//
// Nothing here sleeps to let something happen. Whatever is waited for is an event, and every wait
// has a deadline, so that a server that hangs fails a test instead of the run.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";

/** How long anything may take. Generous: it only decides when a hang is called one. */
export const DEADLINE = 15_000;

/** Settles as `promise` does, or rejects naming `what` when the deadline has passed. */
export function within(promise, what, milliseconds = DEADLINE) {
  let timer;
  const late = new Promise((_, reject) => {
    const error = new Error(`${what}: nothing within ${milliseconds} ms`);
    timer = setTimeout(() => reject(error), milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export class Server {
  #process;
  #output = "";

  constructor(port) {
    this.port = port;
  }

  /** Starts the server and resolves once it answers. */
  static async start() {
    const server = new Server(await freePort());
    await server.start();
    return server;
  }

  get origin() {
    return `http://127.0.0.1:${this.port}`;
  }

  get socketUrl() {
    return `ws://127.0.0.1:${this.port}/socket`;
  }

  /** Everything it has printed, all starts together. */
  get output() {
    return this.#output;
  }

  /** Starts it, again on the same port after `stop`. */
  async start() {
    const binary = process.env.SIMURGH_BIN;
    if (!binary) throw new Error("SIMURGH_BIN must name the simurgh binary");
    const listen = `127.0.0.1:${this.port}`;
    const child = spawn(binary, ["serve", "--listen", listen, "--shards", "2"], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#process = child;
    // When the runner ends for whatever reason, so does the server.
    const end = () => child.kill("SIGKILL");
    process.once("exit", end);
    child.once("exit", () => process.off("exit", end));
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => (this.#output += text));
    }
    const failed = new Promise((_, reject) => {
      child.once("error", reject);
      child.once("exit", (code, signal) =>
        reject(new Error(`simurgh ended with ${code ?? signal} at start:\n${this.#output}`)),
      );
    });
    failed.catch(() => {}); // It ends some day; only an end before it answered is a failure.
    await within(Promise.race([this.#answers(), failed]), "simurgh to answer");
  }

  /** Stops it as a service manager does; resolves with its exit code. */
  async stop() {
    return this.#end("SIGTERM");
  }

  /** Ends it whatever state it is in. Called after every test, so that none leaves one behind. */
  async kill() {
    return this.#end("SIGKILL");
  }

  /** Stops its threads where they are: connections stay up and nobody answers. */
  freeze() {
    const { pid } = this.#process;
    this.#process.kill("SIGSTOP");
    // A thread that runs on another core stops a little later: it could still answer.
    const isStopped = (thread) =>
      /^State:\s+T/m.test(readFileSync(`/proc/${pid}/task/${thread}/status`, "utf8"));
    while (!readdirSync(`/proc/${pid}/task`).every(isStopped));
  }

  thaw() {
    this.#process.kill("SIGCONT");
  }

  async #end(signal) {
    const child = this.#process;
    if (!child?.pid || child.exitCode !== null || child.signalCode !== null) return child?.exitCode;
    const ended = once(child, "exit");
    child.kill(signal);
    const [code] = await within(ended, `simurgh to end after ${signal}`);
    return code;
  }

  // Asked rather than read from what it prints: what counts is that the port answers.
  async #answers() {
    const child = this.#process;
    while (child.exitCode === null) {
      try {
        const response = await fetch(this.origin);
        await response.arrayBuffer();
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }
}

async function freePort() {
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address();
  listener.close();
  await once(listener, "close");
  return port;
}

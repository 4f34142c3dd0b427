// p-queue over undici with retries: what a careful Node programmer writes.
// With --rate the queue has an interval cap.
import PQueue from "p-queue";
import { Pool } from "undici";
import { document, given, KEY, measured, pathOf } from "./common.mjs";

const RETRIES = 5;

await measured(async () => {
  const base = new URL(given.baseUrl);
  const pool = new Pool(base.origin, {
    connections: given.connections,
    headersTimeout: given.timeout,
    bodyTimeout: given.timeout,
  });
  const cap = given.rate ? { intervalCap: given.rate[0], interval: given.rate[1] * 1000, carryoverConcurrencyCount: true } : {};
  const queue = new PQueue({ concurrency: given.connections, ...cap });
  let gone = 0;
  let failed = 0;
  let requests = 0;

  async function remove(id) {
    for (let attempt = 0; ; attempt++) {
      try {
        requests++;
        const { statusCode, body } = await pool.request({
          method: "DELETE",
          path: base.pathname + pathOf(id),
          headers: { Authorization: `Bearer ${KEY}` },
        });
        await body.dump();
        if (statusCode === 204) return void gone++;
        if (statusCode !== 429 && statusCode < 500) return void failed++;
      } catch (error) {
        if (attempt >= RETRIES) return void failed++;
      }
      if (attempt >= RETRIES) return void failed++;
      await new Promise((done) => setTimeout(done, 1000 * 2 ** attempt));
    }
  }

  for (let k = 0; k < given.documents; k++) {
    queue.add(() => remove(document(k)));
    // Memory stays flat only for those who know of this.
    if (k % 1000 === 999) await queue.onSizeLessThan(2000);
  }
  await queue.onIdle();
  return { gone, failed, requests };
});

// Promise.allSettled over axios: every document at once, which is what the providers' own examples do.
// With --mode pooled an agent keeps to --connections sockets, which the examples do not do.
import http from "node:http";
import axios from "axios";
import { document, given, KEY, measured, pathOf } from "./common.mjs";

await measured(async () => {
  const pooled = given.mode === "pooled";
  const client = axios.create({
    baseURL: given.baseUrl,
    timeout: given.timeout,
    headers: { Authorization: `Bearer ${KEY}` },
    proxy: false,
    ...(pooled ? { httpAgent: new http.Agent({ keepAlive: true, maxSockets: given.connections }) } : {}),
  });
  const ids = Array.from({ length: given.documents }, (_, k) => document(k));
  const results = await Promise.allSettled(ids.map((id) => client.delete(pathOf(id))));
  const gone = results.filter((result) => result.status === "fulfilled").length;
  return { gone, failed: results.length - gone };
});

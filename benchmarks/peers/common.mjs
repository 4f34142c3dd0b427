// What every Node peer has in common: its arguments, the documents to delete, and what it costs.
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    "base-url": { type: "string" },
    documents: { type: "string" },
    connections: { type: "string", default: "32" },
    timeout: { type: "string", default: "60" },
    rate: { type: "string", default: "" },
    mode: { type: "string", default: "" },
  },
});

export const given = {
  baseUrl: values["base-url"].replace(/\/$/, ""),
  documents: Number(values.documents),
  connections: Number(values.connections),
  timeout: Number(values.timeout) * 1000,
  rate: values.rate ? values.rate.split("/").map(Number) : null,
  mode: values.mode,
};

export const KEY = "dataset-0123456789abcdef0123456789abcdef";
export const DATASET = "11111111-1111-4111-8111-111111111111";

export function document(k) {
  const first = (Math.imul(k, 2654435761) >>> 0).toString(16).padStart(8, "0");
  return `${first}-0000-4000-8000-${k.toString(16).padStart(12, "0")}`;
}

export const pathOf = (id) => `/datasets/${DATASET}/documents/${id}`;

function peakKib() {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]);
  } catch {
    return process.resourceUsage().maxRSS;
  }
}

export async function measured(work) {
  const before = peakKib();
  const began = performance.now();
  const cpu = process.cpuUsage();
  const found = await work();
  const wall = (performance.now() - began) / 1000;
  const used = process.cpuUsage(cpu);
  const out = { wall_s: wall, cpu_s: (used.user + used.system) / 1e6, before_kib: before, peak_kib: peakKib(), ...found };
  process.stdout.write(JSON.stringify(out) + "\n", () => process.exit(0));
}

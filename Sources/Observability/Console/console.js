"use strict";
// The console: one overview at the start, then what /events says. No library, nothing from elsewhere, no value of any row.

const $ = (id) => document.getElementById(id);
const SPAN = 600000; // most milliseconds shown over time
const state = { view: null, histories: new Map(), chosen: null, flushes: [], token: sessionStorage.getItem("tidemark-token"), heard: 0, paused: false, clock: 0 };
window.tidemark = state;

// Numbers and times ---------------------------------------------------------------------------------------------

const grouped = (n) => Math.round(n).toLocaleString("en-US");
function short(n) {
  if (n === undefined || n === null) return "–";
  const a = Math.abs(n);
  if (a >= 1e9) return (n / 1e9).toFixed(a >= 1e10 ? 0 : 1) + " G";
  if (a >= 1e6) return (n / 1e6).toFixed(a >= 1e7 ? 1 : 2) + " M";
  if (a >= 1e4) return (n / 1e3).toFixed(a >= 1e5 ? 0 : 1) + " k";
  return a >= 100 || a === 0 || Number.isInteger(n) ? grouped(n) : n.toFixed(1);
}
function bytes(n) {
  if (n === undefined || n === null) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) { n /= 1024; i++; }
  return (n >= 100 || i === 0 ? Math.round(n) : n.toFixed(1)) + " " + units[i];
}
function span(s) { // [number, unit]
  if (s === undefined || s === null) return ["–", ""];
  if (s < 0.9995) return [String(Math.round(s * 1000)), "ms"];
  if (s < 10) return [s.toFixed(2), "s"];
  if (s < 120) return [s.toFixed(0), "s"];
  if (s < 7200) return [(s / 60).toFixed(0), "min"];
  if (s < 172800) return [(s / 3600).toFixed(1), "h"];
  return [(s / 86400).toFixed(1), "days"];
}
const spanText = (s) => span(s).join(" ").trim();
const utc = (ms) => ms === undefined || ms === null ? "–" : new Date(ms).toISOString().replace("T", " ").replace(/\.\d+Z$/, "Z");
const timeOfDay = (ms) => new Date(ms).toISOString().slice(11, 19);
// The instance's clock: a browser's may be wrong.
const now = () => state.clock ? state.clock + (Date.now() - state.heard) : Date.now();
const ago = (ms) => ms === undefined || ms === null ? "never" : spanText(Math.max(0, (now() - ms) / 1000)) + " ago";

// Elements ------------------------------------------------------------------------------------------------------

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "class") node.className = value; else node.setAttribute(key, value === true ? "" : value);
  }
  for (const child of children) if (child !== undefined && child !== null) node.append(child);
  return node;
}
function svg(tag, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}
function put(id, text) { const node = $(id); if (node.textContent !== text) node.textContent = text; }
function tone(node, value) { if (value) node.dataset.tone = value; else delete node.dataset.tone; }

// Charts --------------------------------------------------------------------------------------------------------

function niceMax(value) {
  if (!(value > 0)) return 1;
  const power = Math.pow(10, Math.floor(Math.log10(value)));
  for (const step of [1, 2, 2.5, 5, 10]) if (step * power >= value) return step * power;
  return 10 * power;
}

class Chart {
  constructor(id, series, label, options) {
    Object.assign(this, { svg: $(id), read: $(id + "-read"), series, label, options: options || {}, points: [], cursor: null });
    this.svg.addEventListener("pointermove", (e) => this.point(e.clientX));
    this.svg.addEventListener("pointerleave", () => { this.cursor = null; this.draw(); });
    this.svg.addEventListener("blur", () => { this.cursor = null; this.draw(); });
    this.svg.addEventListener("keydown", (e) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -30, PageDown: 30, Home: -1e6, End: 1e6 }[e.key];
      if (!step || !this.points.length) return;
      e.preventDefault();
      this.cursor = Math.min(this.points.length - 1, Math.max(0, (this.cursor === null ? this.points.length - 1 : this.cursor) + step));
      this.draw();
    });
  }
  show(points, extra) { this.points = points; this.extra = extra; this.draw(); }
  point(x) {
    if (!this.points.length || !this.x) return;
    const at = x - this.svg.getBoundingClientRect().left;
    let best = 0;
    this.points.forEach((p, i) => { if (Math.abs(this.x(p.at) - at) < Math.abs(this.x(this.points[best].at) - at)) best = i; });
    this.cursor = best;
    this.draw();
  }
  draw() {
    const width = this.svg.clientWidth || 500, height = this.svg.clientHeight || 190;
    const left = 46, right = 8, top = 10, bottom = 20;
    const end = this.points.length ? Math.max(this.points[this.points.length - 1].at, now() - 2000) : now();
    const values = this.points.flatMap((p) => this.series.map((s) => p[s.key])).filter((v) => v !== undefined);
    const most = niceMax(Math.max(this.options.least || 0, this.extra || 0, ...(values.length ? [values.reduce((a, b) => Math.max(a, b), 0) * 1.05] : [])));
    // As long as there is something to show, from a minute to ten.
    const age = this.points.length ? end - this.points[0].at : 0;
    const minutes = [1, 2, 5, 10].find((m) => m * 60000 >= age) || 10, shown = minutes * 60000;
    const x = this.x = (at) => left + (width - left - right) * (1 - (end - at) / shown);
    const y = (v) => height - bottom - (height - top - bottom) * Math.min(1, v / most);
    const parts = [];
    for (let i = 0; i <= 4; i += 2) {
      const v = most * i / 4;
      parts.push(svg("line", { class: "grid", x1: left, x2: width - right, y1: y(v), y2: y(v) }));
      parts.push(svg("text", { x: left - 6, y: y(v) + 4, "text-anchor": "end" }, this.label(v)));
    }
    const steps = minutes === 2 || width < 420 ? 2 : minutes === 1 ? 4 : 5;
    for (let i = steps; i >= 0; i--) {
      const back = shown * i / steps, words = i === 0 ? "now" : back % 60000 ? "−" + back / 1000 + " s" : "−" + back / 60000 + " min";
      parts.push(svg("text", { x: x(end - back), y: height - 5, "text-anchor": i === steps ? "start" : i === 0 ? "end" : "middle" }, words));
    }
    if (!values.length || (!values.some((v) => v > 0) && this.options.quiet)) {
      parts.push(svg("text", { x: (left + width) / 2, y: top + (height - bottom - top) / 4 + 4, "text-anchor": "middle" }, this.points.length < 3 ? "the first seconds" : this.options.quiet || "nothing known yet"));
    }
    if (this.extra !== undefined && this.extra <= most) parts.push(svg("line", { class: "aim", x1: left, x2: width - right, y1: y(this.extra), y2: y(this.extra) }));
    for (const s of this.series) {
      let path = "", area = "", open = false, lastX = 0;
      for (const p of this.points) {
        const v = p[s.key];
        if (v === undefined || p.at < end - shown) { open = false; continue; }
        path += (open ? "L" : "M") + x(p.at).toFixed(1) + " " + y(v).toFixed(1);
        if (!open) area += (area ? "L" + lastX.toFixed(1) + " " + y(0) : "") + "M" + x(p.at).toFixed(1) + " " + y(0);
        area += "L" + x(p.at).toFixed(1) + " " + y(v).toFixed(1);
        lastX = x(p.at);
        open = true;
      }
      if (path && s.area) parts.push(svg("path", { class: "area", d: area + "L" + lastX.toFixed(1) + " " + y(0) + "Z" }));
      if (path) parts.push(svg("path", { class: s.class, d: path }));
    }
    const at = this.cursor === null ? null : this.points[Math.min(this.cursor, this.points.length - 1)];
    if (at) parts.push(svg("line", { class: "cursor", x1: x(at.at), x2: x(at.at), y1: top, y2: height - bottom }));
    this.read.textContent = at ? timeOfDay(at.at) + "  " + this.series.map((s) => s.name + " " + this.label(at[s.key], true)).join(", ") : "";
    this.svg.setAttribute("viewBox", "0 0 " + width + " " + height);
    this.svg.replaceChildren(...parts);
  }
}

let charts;
function makeCharts() {
  charts = {
    rate: new Chart("c-rate", [{ key: "consumed", class: "s1", name: "folded" }, { key: "flushed", class: "s2", name: "in PostgreSQL", area: true }], (v) => short(v), { least: 10, quiet: "no events yet" }),
    lag: new Chart("c-lag", [{ key: "lagSeconds", class: "s3", name: "lag" }, { key: "p99", class: "s2", name: "p99" }], (v, exact) => v === undefined ? "–" : exact ? spanText(v) : v >= 1 || v === 0 ? spanText(v).replace(".00", "") : Math.round(v * 1000) + " ms", { least: 1 }),
  };
}

// The page ------------------------------------------------------------------------------------------------------

function current() { return state.view && (state.view.topologies.find((t) => t.name === state.chosen) || state.view.topologies[0]); }

function draw() {
  const view = state.view;
  if (!view) return;
  const topology = current();
  $("content").hidden = false;
  $("token").hidden = true;
  put("instance", view.instance + (view.topologies.length === 1 ? " · " + view.topologies[0].name : "") + " · up " + spanText(Math.max(1, Math.round(view.uptime))).replace(".00", ""));
  document.title = (view.state.ready ? "" : "! ") + "Tidemark · " + (topology ? topology.name : view.instance);
  put("version", "Tidemark " + view.version);
  const ready = $("ready");
  put("ready", view.state.ready ? "ready" : view.state.alive ? "not ready" : "stuck");
  tone(ready, view.state.ready ? "good" : view.state.alive ? "warn" : "bad");
  ready.title = view.state.reasons.join("\n");
  drawTopologies(view);
  drawBanners(view, topology);
  if (!topology) return;
  drawTiles(topology);
  const points = state.histories.get(topology.name) || [];
  charts.rate.show(points);
  charts.lag.show(points, topology.freshnessTarget);
  drawBuckets(view, topology);
  drawAggregates(topology);
  drawPartitions(view, topology);
  drawAlerts(view);
  drawReconciliation(view, topology);
  drawInside(view, topology);
}

function drawTopologies(view) {
  const nav = $("topologies");
  nav.hidden = view.topologies.length < 2;
  const names = view.topologies.map((t) => t.name);
  if (!state.chosen || !names.includes(state.chosen)) state.chosen = names[0];
  if (nav.dataset.names !== names.join("\n")) {
    nav.dataset.names = names.join("\n");
    nav.replaceChildren(...names.map((name) => { const b = el("button", { type: "button" }, name); b.onclick = () => { state.chosen = name; draw(); }; return b; }));
  }
  [...nav.children].forEach((b) => b.setAttribute("aria-pressed", String(b.textContent === state.chosen)));
}

function drawBanners(view, topology) {
  const banners = [];
  const add = (kind, title, text) => banners.push([kind, title, text]);
  if (view.postgres.reachable === false) {
    const held = topology ? ` ${bytes(topology.memory.pending)} wait in memory, ${bytes(topology.journalUnflushed)} in the journal; nothing is lost.` : "";
    add("bad", "PostgreSQL is away since " + timeOfDay(view.postgres.since) + "Z (" + spanText(Math.max(0, (now() - view.postgres.since) / 1000)) + ")",
      view.postgres.reason.replace(/[.\s]+$/, "") + "." + held + (view.postgres.booksAt ? " Numbers of all instances are as of " + utc(view.postgres.booksAt) + "." : " Numbers of all instances are not known yet."));
  }
  if (topology) {
    if (topology.pausedBy.includes("budget")) add("warn", "Partitions are paused", "More waits for PostgreSQL than memory or the journal may hold. Kafka keeps the rest.");
    if (topology.pausedBy.includes("disk")) add("bad", "Partitions are paused", "The journal's disk takes no records.");
    const stopped = topology.partitions.filter((p) => p.phase === "stopped" || p.phase === "fenced");
    if (stopped.length) add("bad", stopped.length + (stopped.length === 1 ? " partition is " : " partitions are ") + "stopped", stopped.map((p) => p.topic + "/" + p.partition + (p.alerts.length ? ": " + p.alerts.join("; ") : "")).join(" · "));
    if (topology.phase === "opening" && view.postgres.reachable !== false) add("warn", "Just started", "Waiting for PostgreSQL and opening the journal.");
    if (topology.phase === "joining") add("warn", "Just started", "In the consumer group; partitions are not assigned yet.");
    if (topology.phase === "running" && !topology.partitions.some((p) => p.owner === view.instance)) add("warn", "Standing by", "The group has given this instance no partition: others have them all, or the topic has none.");
    if (topology.phase === "draining") add("warn", "Draining", "Flushing what is left and giving partitions back.");
  }
  if (!view.state.alive) add("bad", "A thread is stuck", view.state.reasons.join("; "));
  else if (!view.state.ready && !banners.length) add("warn", "Not ready", view.state.reasons.join("; "));
  const key = JSON.stringify(banners);
  if ($("banners").dataset.key === key) return;
  $("banners").dataset.key = key;
  $("banners").replaceChildren(...banners.map(([kind, title, text]) => el("div", { class: "banner", "data-tone": kind }, el("strong", {}, title), el("p", {}, text))));
}

function drawTiles(t) {
  const at = t.now || {};
  put("t-rate", t.now ? short(at.consumed) : "–");
  put("t-rate-note", grouped(t.events) + " since the start");
  const [lag, lagUnit] = span(at.lagSeconds);
  put("t-lag", at.lagSeconds === 0 ? "none" : lag);
  put("t-lag-unit", at.lagSeconds === 0 ? "" : lagUnit);
  put("t-lag-note", at.lag === undefined ? "ends of partitions are not known yet" : at.lag === 0 ? "all that is in Kafka is in PostgreSQL" : grouped(at.lag) + " events wait");
  tone($("t-lag").closest(".tile"), at.lagSeconds > 12 * t.freshnessTarget ? "bad" : at.lagSeconds > t.freshnessTarget ? "warn" : "");
  const [fresh, freshUnit] = span(at.p99);
  put("t-fresh", fresh);
  put("t-fresh-unit", freshUnit);
  put("t-fresh-note", at.p99 === undefined ? "no records in the last minute" : "half within " + spanText(at.p50) + " · target " + spanText(t.freshnessTarget).replace(".00", ""));
  tone($("t-fresh").closest(".tile"), at.p99 > t.freshnessTarget ? "warn" : "");
  const [flush, flushUnit] = span(t.lastFlush === undefined ? undefined : Math.max(0, (now() - t.lastFlush) / 1000));
  put("t-flush", t.lastFlush === undefined ? "none" : flush);
  put("t-flush-unit", t.lastFlush === undefined ? "" : flushUnit + " ago");
  put("t-flush-note", t.lastFlush === undefined ? "none since the start" : grouped(t.flushes) + " flushes, half within " + spanText(t.flushSeconds.p50) + (t.retries ? " · " + grouped(t.retries) + " retries" : ""));
}

const BUCKETS = ["applied", "filtered", "duplicate", "late", "quarantined", "gap"];
function drawBuckets(view, t) {
  const counts = t.ledger || t.buckets;
  const total = BUCKETS.reduce((sum, b) => sum + counts[b], 0);
  put("b-note", t.ledger ? grouped(total) + " offsets in the ledger of all instances, each in exactly one bucket" : grouped(total) + " offsets folded by this instance; the ledger is not known");
  $("b-bar").setAttribute("aria-label", BUCKETS.map((b) => b + " " + grouped(counts[b])).join(", "));
  if (!$("b-list").children.length) {
    $("b-list").replaceChildren(...BUCKETS.map((b) => el("div", { class: "l-" + b }, el("dt", {}, b), el("dd", { id: "b-" + b }))));
    $("b-bar").replaceChildren(...BUCKETS.map((b) => el("i", { class: "b-" + b, id: "bar-" + b, title: b })));
  }
  for (const b of BUCKETS) {
    const share = total ? counts[b] / total : 0;
    $("bar-" + b).style.flexGrow = String(share);
    $("bar-" + b).hidden = counts[b] === 0;
    $("bar-" + b).style.display = counts[b] === 0 ? "none" : "";
    $("b-" + b).replaceChildren(grouped(counts[b]), el("small", {}, total ? (share * 100 >= 99.995 || share === 0 ? String(Math.round(share * 100)) : (share * 100).toFixed(share < 0.001 ? 4 : 2)) + " %" : " "));
  }
}

function rows(id, list, none) {
  const body = $(id).tBodies[0];
  const heads = [...$(id).tHead.rows[0].cells].map((c) => c.textContent);
  if (!list.length) return body.replaceChildren(el("tr", {}, el("td", { colspan: heads.length, class: "quiet" }, none)));
  body.replaceChildren(...list.map((cells) => el("tr", {}, ...cells.map((cell, i) => {
    const td = el("td", { class: $(id).tHead.rows[0].cells[i].className || null, "data-label": heads[i] });
    if (cell instanceof Node) td.append(cell); else td.textContent = cell;
    return td;
  }))));
}

function drawAggregates(t) {
  const at = t.now || {};
  rows("aggregates", t.aggregates.map((a) => {
    const value = at.lagSeconds > t.freshnessTarget ? at.lagSeconds : at.p99;
    const over = value > t.freshnessTarget;
    const meter = el("span", { class: "meter" + (over ? " over" : ""), "aria-hidden": "true" });
    const fill = el("i", {});
    fill.style.width = Math.min(100, 100 * (value || 0) / t.freshnessTarget) + "%";
    meter.append(fill);
    const words = value === undefined ? (at.lagSeconds === 0 ? "current" : "not known yet") : spanText(value) + (over ? " behind, over " : " of ") + spanText(t.freshnessTarget).replace(".00", "");
    const cell = el("span", { title: (a.freshAsOf ? "fresh as of " + utc(a.freshAsOf) : "") + (a.rowsChangedAt ? ", rows last changed " + utc(a.rowsChangedAt) : "") }, meter, words);
    return [el("strong", {}, a.name), a.window, cell, utc(a.completeThrough), grouped(a.groups), grouped(a.overflowed), a.rows === undefined ? "–" : "≈ " + grouped(a.rows)];
  }), "no aggregates");
}

function drawPartitions(view, t) {
  const mine = t.partitions.filter((p) => p.owner === view.instance).length;
  put("p-note", t.partitions.length ? t.partitions.length + " known, " + mine + " of them here" + (view.postgres.booksAt ? "" : "; those of other instances are not known yet") : "");
  rows("partitions", t.partitions.map((p) => {
    const phase = p.phase || (p.owner ? "elsewhere" : "nobody's");
    const kind = { running: "good", stopped: "bad", fenced: "bad", acquiring: "warn", rebuilding: "warn", draining: "warn", "nobody's": "warn" }[phase] || "idle";
    return [p.topic + "/" + p.partition, p.owner === view.instance ? el("span", {}, p.owner, el("span", { class: "quiet" }, " (this one)")) : p.owner || "–",
      el("span", { class: "pill", "data-tone": kind, title: p.alerts.join("\n") }, phase), p.lag === undefined ? "?" : grouped(p.lag),
      p.lagSeconds === undefined ? "–" : p.lagSeconds === 0 ? "0 s" : spanText(p.lagSeconds), grouped(p.nextOffset), grouped(p.epoch),
      p.watermark ? p.watermark.replace("T", " ").replace(/\.\d+Z$/, "Z") : "–"];
  }), "no partition has been assigned yet");
}

function drawAlerts(view) {
  const list = view.alerts;
  if (!list) return $("alerts").replaceChildren(el("li", { class: "quiet" }, "not known: PostgreSQL has not been read yet"));
  if (!list.length) return $("alerts").replaceChildren(el("li", {}, el("span", { class: "pill", "data-tone": "good" }, "none"), " no alert is open, none was resolved within a day"));
  $("alerts").replaceChildren(...list.map((a) => el("li", {},
    el("span", { class: "pill", "data-tone": a.resolvedAt ? "idle" : "bad" }, a.resolvedAt ? "resolved" : "open"), " ", el("strong", {}, a.kind), " ", a.message,
    el("span", { class: "when" }, "raised " + utc(a.raisedAt) + (a.resolvedAt ? ", resolved " + utc(a.resolvedAt) : "") + (a.seen > 1 ? ", seen " + grouped(a.seen) + " times" : "")))));
}

function drawReconciliation(view, t) {
  const box = $("reconciliation");
  const run = (view.reconciliations || []).find((r) => r.topology === t.name);
  if (!run) return box.replaceChildren(el("p", { class: "quiet" }, view.reconciliations ? "none yet: `tidemark nightly` compares the stream with the batch" : "not known: PostgreSQL has not been read yet"));
  const kind = { equal: "good", explained: "good", running: "idle", different: "bad", failed: "bad" }[run.outcome] || "idle";
  box.replaceChildren(el("p", {}, el("span", { class: "pill", "data-tone": kind }, run.outcome), " ", grouped(run.differences) + " differences, " + grouped(run.unexplained) + " unexplained"),
    el("p", { class: "quiet" }, run.finishedAt ? "ended " + utc(run.finishedAt) + ", " + ago(run.finishedAt) : "began " + utc(run.startedAt)), run.reason ? el("p", { class: "bad" }, run.reason) : null);
}

function drawInside(view, t) {
  const facts = [
    ["memory", bytes(view.residentBytes) + " resident"], ["waits for PostgreSQL", bytes(t.memory.pending)], ["groups", bytes(t.memory.groups)],
    ["members", bytes(t.memory.members)], ["event ids", bytes(t.memory.identifiers)], ["journal", bytes(t.journalBytes) + " on disk, " + bytes(t.journalUnflushed) + " not in PostgreSQL"],
    ["event to row", t.eventAge.p50 === undefined ? "–" : "half within " + spanText(t.eventAge.p50) + ", 99 % within " + spanText(t.eventAge.p99)],
    ["rebalances", t.rebalances.assigned + " assigned, " + t.rebalances.revoked + " revoked, " + t.rebalances.lost + " lost" + (t.fenced ? ", " + t.fenced + " fenced" : "")],
    ["flush interval", spanText(t.flushInterval).replace(".00", "")], ["allowed lateness", spanText(t.allowedLateness)], ["topics", t.topics.join(", ")],
  ];
  $("inside").replaceChildren(...facts.flatMap(([k, v]) => [el("dt", {}, k), el("dd", {}, v)]));
}

function drawFlushes() {
  const list = state.flushes.filter((f) => f.topology === state.chosen);
  if (!list.length) return $("flushes").replaceChildren(el("li", { class: "quiet" }, "none since this page was opened"));
  $("flushes").replaceChildren(...list.slice(0, 30).map((f) => el("li", {},
    timeOfDay(f.at) + "  #" + f.flush + "  " + grouped(f.offsets) + " offsets of " + f.partitions.length + (f.partitions.length === 1 ? " partition" : " partitions") + " in " + spanText(f.seconds) + ", "
    + Object.entries(f.rows).map(([name, n]) => name + " " + grouped(n)).join(", ") + " rows")));
}

// The instance --------------------------------------------------------------------------------------------------

function headers() { return state.token ? { Authorization: "Bearer " + state.token } : {}; }

function take(view) {
  state.clock = view.at;
  state.heard = Date.now();
  for (const t of view.topologies) {
    if (t.history) state.histories.set(t.name, t.history);
    else if (t.now) {
      const points = state.histories.get(t.name) || [];
      if (!points.length || points[points.length - 1].at < t.now.at) points.push(t.now);
      while (points.length && points[0].at < t.now.at - SPAN - 5000) points.shift();
      state.histories.set(t.name, points);
    }
  }
  state.view = view;
  if (!state.paused) draw();
}

function live(text, kind) { put("live", text); tone($("live"), kind); }

async function follow() {
  for (let failures = 0; ; ) {
    try {
      const first = await fetch("overview", { headers: headers(), cache: "no-store" });
      if (first.status === 401) return askForToken();
      if (!first.ok) throw new Error(String(first.status));
      take(await first.json());
      drawFlushes();
      const stream = await fetch("events?with=overview", { headers: headers(), cache: "no-store" });
      if (!stream.ok) throw new Error(stream.status === 503 ? "too many clients" : String(stream.status));
      failures = 0;
      live(state.paused ? "paused" : "live", state.paused ? "warn" : "good");
      await read(stream.body.getReader());
    } catch (error) { /* said below */ }
    failures++;
    const wait = Math.min(10000, 500 * Math.pow(1.6, failures));
    live(state.heard ? "no connection, last heard " + timeOfDay(now()) : "no connection", "bad");
    await new Promise((done) => setTimeout(done, wait));
  }
}

async function read(reader) {
  const decoder = new TextDecoder();
  let text = "";
  // A silent connection is a dead one: the overview comes every second.
  for (;;) {
    let timer;
    const silence = new Promise((_, fail) => { timer = setTimeout(() => fail(new Error("silent")), 15000); });
    let part;
    try { part = await Promise.race([reader.read(), silence]); } catch (error) { reader.cancel().catch(() => {}); throw error; } finally { clearTimeout(timer); }
    if (part.done) return;
    text += decoder.decode(part.value, { stream: true });
    for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) message(text.slice(0, end));
  }
}

function message(block) {
  let kind = "message", data = "";
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) kind = line.slice(7);
    else if (line.startsWith("data: ")) data += line.slice(6);
  }
  if (!data) return;
  const body = JSON.parse(data);
  if (kind === "overview") take(body);
  else if (kind === "flush") {
    state.flushes.unshift(body);
    if (state.flushes.length > 100) state.flushes.pop();
    if (!state.paused) drawFlushes();
  }
}

function askForToken() {
  $("refused").hidden = !state.token;
  state.token = null;
  sessionStorage.removeItem("tidemark-token");
  put("instance", "closed to strangers");
  live("token needed", "warn");
  $("content").hidden = true;
  $("token").hidden = false;
  $("secret").focus();
}

// Keys and themes -----------------------------------------------------------------------------------------------

function theme(value) {
  document.documentElement.dataset.theme = value;
  if (charts && state.view) draw();
}
const dark = matchMedia("(prefers-color-scheme: dark)");
const chosenTheme = () => localStorage.getItem("tidemark-theme") || (dark.matches ? "dark" : "light");
function otherTheme() {
  const value = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("tidemark-theme", value);
  theme(value);
}
theme(chosenTheme());
dark.addEventListener("change", () => theme(chosenTheme()));
$("theme").onclick = otherTheme;
addEventListener("keydown", (e) => {
  if (e.target.tagName === "INPUT" || e.ctrlKey || e.metaKey || e.altKey) return;
  if (e.key === "t") otherTheme();
  else if (e.key === "p") { state.paused = !state.paused; live(state.paused ? "paused" : "live", state.paused ? "warn" : "good"); draw(); }
  else if (/^[1-9]$/.test(e.key) && state.view && state.view.topologies[e.key - 1]) { state.chosen = state.view.topologies[e.key - 1].name; draw(); drawFlushes(); }
});
addEventListener("resize", () => { if (state.view) draw(); });
$("token").onsubmit = (e) => {
  e.preventDefault();
  state.token = $("secret").value.trim();
  sessionStorage.setItem("tidemark-token", state.token);
  follow();
};
makeCharts();
follow();

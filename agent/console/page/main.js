// The console: puts the parts together, and says in which state they are.

import { Captions } from "./captions.js";
import { Chronicle, LANES } from "./chronicle.js";
import { SessionClock } from "./clocks.js";
import { EventList, pairs } from "./eventlist.js";
import { Link } from "./link.js";
import { alarm, calm, notice, speak } from "./notices.js";
import { Picture } from "./picture.js";
import { Recordings } from "./recordings.js";
import { Review } from "./review.js";
import { set, settings } from "./settings.js";
import { Story } from "./story.js";
import { Talker } from "./talker.js";
import { clock, seconds, tell } from "./telling.js";
import { Timeline } from "./timeline.js";
import { PICTURE, SOUND } from "./wire.js";

const place = (id) => document.getElementById(id);
const link = new Link(new URLSearchParams(location.search).get("token") ?? "");
const time = new SessionClock();
const talker = new Talker(link, place("own"));
const captions = new Captions(place("captions"), place("scroller"), place("later"));
const timeline = new Timeline(place("timeline"));
const list = new EventList({ list: place("events"), filter: place("filter"), kind: place("kind"), panel: place("list-panel") });
const picture = new Picture({ frame: place("frame"), video: place("own"), still: place("still"), boxes: place("boxes"), words: place("seen") });
const review = new Review(link);
const recordings = new Recordings(link);

let session = null; // what the server last said of it
let viewer = 0;
let chosen = false; // Talk or "Only watch" was pressed: the big button has gone
let story = new Story();
let chronicle = new Chronicle();
let wait = { until: 0 }; // ms of performance.now(): when the next connection is tried
let dirty = true; // captions have changed
let rate = { count: 0, at: 0, value: 0 };

// --- what the server says

link.onstate = (state, detail) => {
  document.body.dataset.link = state;
  wait = { until: performance.now() + detail };
  if (state === "open") calm();
  else talker.disconnected();
  if (state === "stale") alarm("The server was started again and this address is no longer good. Open the address that it prints now.");
  render();
};

link.onmessage = (message) => {
  switch (message.type) {
    case "welcome":
      viewer = message.viewer;
      place("name").textContent = message.name;
      document.title = message.name;
      hear({ ...message.session });
      talker.connected(message.limits);
      break;
    case "session": hear(message); break;
    case "events": for (const event of message.events) take(event); break;
    case "pong": time.hear(message.now, message.time); break;
    case "recordings": recordings.refresh(); break;
    case "notice": notice(message.message); break;
    case "error": alarm(message.message); break;
    default: talker.take(message);
  }
};

link.onframe = (frame) => {
  if (frame.kind === SOUND) talker.speaker.play(frame);
  else if (frame.kind === PICTURE && review.name === null) picture.show(frame.jpeg);
};

function hear(told) {
  const fresh = session === null || session.number !== told.number;
  if (fresh) {
    if (session) notice(told.recording ? `A new session, which is recorded as ${told.recording}.` : "A new session.");
    time.reset();
    begin();
  }
  const before = session;
  session = told;
  time.hear(told.now);
  if (before?.muted !== told.muted) talker.mute(told.muted);
  render();
}

/** Captions and timeline start afresh. */
function begin() {
  story = new Story();
  story.onfinished = (row) => {
    if (row.state !== "faint" && row.text) speak(row.side === "note" ? row.text : `${row.side === "agent" ? "Agent" : captions.person}: ${row.text}${row.state === "cut" ? ", interrupted" : ""}`);
  };
  chronicle = new Chronicle();
  if (review.name === null) look();
  dirty = true;
}

let newest = -1; // `order` of the newest event: after a reconnect the server sends the last minute again

function take(event) {
  if (event.order <= newest && chronicle.count) return;
  newest = event.order;
  story.take(event);
  chronicle.take(event);
  dirty ||= event.type !== "Voice";
}

// --- what is looked at: now, or a recording

function look() {
  const recorded = review.name !== null;
  timeline.chronicle = list.chronicle = recorded ? review.chronicle : chronicle;
  timeline.now = recorded ? () => review.time : () => time.now();
  timeline.recorded = recorded;
  timeline.onseek = recorded ? (t) => review.seek(t) : null;
  list.limit = recorded ? () => review.time : () => Infinity;
  timeline.pause(false);
  timeline.select(null);
  picture.own(!recorded && talker.camera.isOpen);
  dirty = true;
  render();
  timeline.redraw();
}

review.onopened = look;
review.onclosed = () => {
  look();
  place("open-recordings").focus();
};
review.onpicture = (blob) => (blob ? picture.show(blob) : picture.clear());
recordings.onopen = (name) => review.open(name);

let lastShown = 0;

function frame(now) {
  requestAnimationFrame(frame);
  if (now - lastShown < 30) return;
  lastShown = now;
  review.tick();
  const recorded = review.name !== null;
  if (dirty || recorded) {
    const { rows } = recorded ? review.story : story;
    captions.show(rows);
    place("empty").hidden = rows.length > 0 || !place("hero").hidden;
    dirty = false;
  }
  if (recorded) picture.faces(review.faces, review.time);
  else picture.faces(chronicle.faces, time.now());
  if (!place("mute").hidden) place("level").style.transform = `scaleX(${Math.min(1, talker.microphone.level * 1.6).toFixed(2)})`;
}

// --- the state, in words

function status() {
  const again = Math.max(1, Math.ceil((wait.until - performance.now()) / 1000));
  switch (link.state) {
    case "connecting": return "Connecting …";
    case "reconnecting": return "Connection lost, trying again …";
    case "gone": return `The server does not answer; next try in ${again} s`;
    case "stale": return "This address is no longer good";
    default:
  }
  if (talker.asking) return "Asking for the microphone …";
  if (talker.talking) return session?.muted ? "Muted" : "Talking";
  if (talker.refusal) return `Refused: ${talker.refusal}`;
  if (session?.talker !== null && session?.talker !== undefined && session.talker !== viewer) return "Watching; somebody else is talking";
  return chosen ? "Watching" : "Ready";
}

function render() {
  const open = link.state === "open";
  const { talking, seeing, asking } = talker;
  const text = status();
  if (place("state-text").textContent !== text) place("state-text").textContent = text;
  document.body.classList.toggle("talking", talking);
  document.body.classList.toggle("muted", talking && !!session?.muted);
  document.body.classList.toggle("refused", open && !!talker.refusal && !talking);
  captions.person = talking ? "You" : "Person";
  if (talking || story.rows.length > 40) chosen = true;
  const recorded = review.name !== null;
  place("hero").hidden = chosen || recorded;
  place("controls").hidden = recorded;
  place("hero-text").className = talker.refusal ? "alarm" : "";
  place("hero-text").textContent = talker.refusal
    ? `Refused: ${talker.refusal}. You can watch, and try again when they have finished.`
    : "Press Talk and speak. The agent answers aloud, and you may interrupt it at any moment.";
  for (const id of ["talk-big", "watch-only"]) place(id).disabled = !open || asking;
  const talk = place("talk");
  talk.hidden = !chosen;
  talk.disabled = !open || asking;
  talk.classList.toggle("primary", !talking);
  talk.querySelector("span").textContent = talking ? "Leave" : "Talk";
  talk.querySelector("use").setAttribute("href", `page/icons.svg#${talking ? "leave" : "mic"}`);
  place("mute").hidden = !talking;
  place("mute").setAttribute("aria-pressed", String(!!session?.muted));
  place("camera").setAttribute("aria-pressed", String(seeing));
  place("record").setAttribute("aria-checked", String(!!session?.recording));
  place("recording-sign").hidden = !session?.recording || !open;
  for (const id of ["camera", "record", "stop", "text", "send"]) place(id).disabled = !open;
  const watchers = (session?.watchers ?? 1) - 1;
  place("watchers").textContent = open && watchers > 0 ? `${watchers} ${watchers === 1 ? "other watches" : "others watch"}` : "";
  if (!recorded) picture.own(talker.camera.isOpen);
}

function figures() {
  const now = performance.now();
  rate = { count: chronicle.count, at: now, value: rate.at ? ((chronicle.count - rate.count) * 1000) / (now - rate.at) : 0 };
  if (link.state === "gone") render();
  if (!place("figures-panel").open) return;
  const { underruns, heldMs, lost, latencyMs } = talker.speaker.figures;
  const rows = [
    ["one way to the server", link.trip === null ? "–" : `${(link.trip / 2).toFixed(1)} ms`],
    ["events", `${rate.value.toFixed(0)} /s`],
    ["microphone blocks sent", talker.sent],
    ["frames not sent (line full)", link.dropped],
    ["connections lost", link.reconnects],
    ["sound: late (underruns)", underruns],
    ["sound: frames missing", lost],
    ["sound: waiting", `${heldMs.toFixed(0)} ms`],
    ["sound: on its way out", `${latencyMs.toFixed(0)} ms`],
    ...[...chronicle.gauges].map(([name, value]) => [name, Number.isInteger(value) ? value : value.toPrecision(3)]),
  ];
  place("figures").replaceChildren(
    ...rows.flatMap(([name, value]) => [
      Object.assign(document.createElement("dt"), { textContent: name }),
      Object.assign(document.createElement("dd"), { textContent: value }),
    ]),
  );
}

// --- what the person does

talker.onchange = render;
talker.ontrouble = alarm;

async function talk() {
  if (talker.talking) {
    talker.release("microphone");
    return;
  }
  if (link.state !== "open") return;
  calm();
  await talker.talk(session.speech_rate, settings, place("with-camera").checked && !chosen);
  devices();
}

const stop = () => {
  if (link.send({ type: "stop" })) notice("Stop was sent.");
  else alarm("Stop could not be sent: there is no connection.");
};

function mute() {
  if (!talker.talking) return;
  talker.mute(!session.muted); // at once; the server says it back to everybody
  link.send({ type: "mute", muted: !session.muted });
}

const press = (id, act) => place(id).addEventListener("click", act);
press("talk-big", talk);
press("talk", talk);
press("watch-only", () => {
  chosen = true;
  render();
  place("empty").hidden = story.rows.length > 0;
  place("scroller").focus();
});
press("mute", mute);
press("stop", stop);
press("camera", async () => {
  if (talker.seeing) talker.release("camera");
  else await talker.see(settings);
  devices();
});
press("record", () => link.send({ type: "record", on: !session?.recording }));
press("open-recordings", () => recordings.show());
press("open-settings", () => {
  devices();
  place("settings").showModal();
});
press("open-help", () => place("help").showModal());
for (const close of document.querySelectorAll("dialog .close")) close.addEventListener("click", () => close.closest("dialog").close());

place("write").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = place("text").value.trim();
  if (!text) return;
  if (link.send({ type: "text", text })) place("text").value = "";
  else alarm("Not sent: there is no connection.");
  if (!chosen) {
    chosen = true;
    render();
  }
});

addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]") || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "Escape") {
    stop();
    return;
  }
  if (!settings.keys || /^(input|select|textarea)$/i.test(event.target.tagName)) return;
  const act = {
    t: talk,
    m: mute,
    r: () => recordings.show(),
    "?": () => place("help").showModal(),
    "/": () => place("text").focus(),
  }[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  act();
});

// --- views, timeline, settings

for (const button of document.querySelectorAll(".views button")) {
  button.addEventListener("click", () => {
    document.body.dataset.view = button.dataset.view;
    for (const each of document.querySelectorAll(".views button")) each.toggleAttribute("aria-current", false);
    button.setAttribute("aria-current", "true");
    list.update(true);
  });
}

for (const { name } of LANES) place("lane-names").append(Object.assign(document.createElement("li"), { textContent: name }));

function zoom(step) {
  timeline.zoom(step);
  place("span").textContent = timeline.span < 60 ? `${timeline.span} s` : `${timeline.span / 60} min`;
}
press("zoom-in", () => zoom(-1));
press("zoom-out", () => zoom(1));
press("hold", () => timeline.pause(!timeline.paused));
place("timeline").addEventListener("keyup", () => zoom(0));
place("timeline").addEventListener("wheel", () => zoom(0));
timeline.onpause = (paused) => place("hold").setAttribute("aria-pressed", String(paused));

timeline.onselect = (item) => {
  place("evidence").classList.toggle("empty", !item);
  const body = place("evidence-body");
  body.replaceChildren();
  if (!item) {
    place("evidence-title").textContent = "Choose something in the timeline to see what it was decided from.";
    return;
  }
  const lane = LANES.find(({ id }) => id === item.lane).name;
  const lasted = item.end !== null && item.end > item.start ? `, ${seconds(item.end - item.start)}` : "";
  place("evidence-title").textContent = `${lane} at ${clock(item.start, 2)}${lasted}: ${item.latency !== undefined ? `answered after ${seconds(item.latency)}` : item.label || tell(item.events[0])}`;
  for (const event of item.events.filter(({ type }) => type !== "Played").slice(-6).reverse()) {
    body.append(Object.assign(document.createElement("h3"), { textContent: tell(event) }), pairs(event));
  }
};
timeline.onselect(null);

function show(asList) {
  place("as-lanes").setAttribute("aria-pressed", String(!asList));
  place("as-list").setAttribute("aria-pressed", String(asList));
  place("lanes").hidden = asList;
  place("list-panel").hidden = !asList;
  for (const each of document.querySelectorAll(".lanes-only")) each.hidden = asList;
  list.update(true);
}
press("as-lanes", () => show(false));
press("as-list", () => show(true));

const THEMES = { auto: "as the system", light: "light", dark: "dark" };

function theme(name) {
  set("theme", name);
  document.documentElement.dataset.theme = name;
  place("theme-text").textContent = `Theme: ${THEMES[name]}`;
  place("theme-choice").value = name;
  timeline.recolour();
}
press("theme", () => {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const order = dark ? ["auto", "light", "dark"] : ["auto", "dark", "light"];
  theme(order[(order.indexOf(settings.theme) + 1) % 3]);
});
place("theme-choice").addEventListener("change", (event) => theme(event.target.value));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => timeline.recolour());

for (const [id, name] of [["processing", "processing"], ["keys", "keys"], ["spoken-captions", "spoken"]]) {
  place(id).checked = settings[name];
  place(id).addEventListener("change", (event) => set(name, event.target.checked));
}
for (const name of ["microphone", "camera"]) {
  place(`${name}-device`).addEventListener("change", (event) => set(name, event.target.value));
}

async function devices() {
  const found = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  for (const [name, kind] of [["microphone", "audioinput"], ["camera", "videoinput"]]) {
    const options = found.filter((each) => each.kind === kind && each.deviceId && each.deviceId !== "default");
    place(`${name}-device`).replaceChildren(new Option("as the browser chooses", ""), ...options.map(({ label, deviceId }) => new Option(label || name, deviceId)));
    place(`${name}-device`).value = options.some(({ deviceId }) => deviceId === settings[name]) ? settings[name] : "";
  }
}

theme(THEMES[settings.theme] ? settings.theme : "auto");
begin();
render();
setInterval(figures, 500);
requestAnimationFrame(frame);
link.open();

// The console: puts the parts together, and says in which state they are.

import { BehaviourPanel } from "./behaviour.js";
import { Captions } from "./captions.js";
import { Chronicle } from "./chronicle.js";
import { SessionClock } from "./clocks.js";
import { Figures } from "./figures.js";
import { Link } from "./link.js";
import { alarm, calm, notice, speak } from "./notices.js";
import { Picture } from "./picture.js";
import { devices, themed } from "./preferences.js";
import { Recordings } from "./recordings.js";
import { RobotPanel } from "./robot.js";
import { Robots } from "./robots.js";
import { Review } from "./review.js";
import { settings } from "./settings.js";
import { Story } from "./story.js";
import { Talker } from "./talker.js";
import { TimePanel } from "./timepanel.js";
import { PICTURE, SOUND } from "./wire.js";

const place = (id) => document.getElementById(id);
const link = new Link(new URLSearchParams(location.search).get("token") ?? "");
const time = new SessionClock();
const talker = new Talker(link, place("own"));
const captions = new Captions(place("captions"), place("scroller"), place("later"));
const panel = new TimePanel();
const figures = new Figures();
const picture = new Picture({ frame: place("frame"), video: place("own"), still: place("still"), boxes: place("boxes"), words: place("seen") });
const review = new Review(link);
const recordings = new Recordings(link);
const behaviour = new BehaviourPanel(link);
const robot = new RobotPanel(link);

let session = null; // what the server last said of it
let viewer = 0;
let price = null; // of the language model's tokens
let chosen = false; // Talk or "Only watch" was pressed: the big button has gone
let story = new Story();
let chronicle = new Chronicle();
let robots = new Robots();
let wait = { until: 0 }; // ms of performance.now(): when the next connection is tried
let drawn = -1; // `changes` of the story that the captions show; -1: they show something else

// --- what the server says

link.onstate = (state, detail) => {
  document.body.dataset.link = state;
  wait = { until: performance.now() + detail };
  if (state === "open") calm();
  else {
    talker.disconnected();
    robot.release();
  }
  if (state === "stale") alarm("The server was started again and this address is no longer good. Open the address that it prints now.");
  render();
};

link.onmessage = (message) => {
  switch (message.type) {
    case "welcome":
      viewer = message.viewer;
      place("name").textContent = message.name;
      document.title = message.name;
      price = message.price ?? null;
      hear({ ...message.session });
      story.manner = null; // the last minute comes again, and what was changed in it
      behaviour.hear(message.manner);
      talker.connected(message.limits, message.ice_servers ?? null);
      break;
    case "session": hear(message); break;
    case "events": for (const event of message.events) take(event); break;
    case "pong": time.hear(message.now, message.time); break;
    case "recordings": recordings.refresh(); break;
    case "manner": behaviour.hear(message.manner, message.by === viewer ? "you" : `viewer ${message.by}`); break;
    case "let_go": robot.release(message.reason); break;
    case "notice": notice(message.message); break;
    case "error": if (!behaviour.refused(message.message)) alarm(message.message); break;
    default: talker.take(message);
  }
};

link.onframe = (frame) => {
  if (frame.kind === SOUND) talker.hear(frame);
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
  story.manner = behaviour.manner;
  story.onfinished = (row) => {
    if (row.state !== "faint" && row.text) speak(row.side === "note" ? row.text : `${row.side === "agent" ? "Agent" : captions.person}: ${row.text}${row.state === "cut" ? ", interrupted" : ""}`);
  };
  chronicle = new Chronicle();
  robots = new Robots();
  behaviour.knows([]);
  if (review.name === null) look();
}

let newest = -1; // `order` of the newest event: after a reconnect the server sends the last minute again

function take(event) {
  if (event.order <= newest && chronicle.count) return;
  newest = event.order;
  story.take(event);
  chronicle.take(event);
  robots.take(event);
  if (event.type === "Offered") behaviour.knows([...chronicle.offers.values()].flat());
}

// --- what is looked at: now, or a recording

function look() {
  const recorded = review.name !== null;
  if (recorded) panel.show(review.chronicle, { now: () => review.time, seek: (t) => review.seek(t) });
  else panel.show(chronicle, { now: () => time.now() });
  picture.own(!recorded && talker.camera.isOpen);
  drawn = -1;
  render();
}

review.onopened = look;
review.onclosed = () => {
  look();
  place("open-recordings").focus();
};
review.onpicture = (blob) => (blob ? picture.show(blob) : picture.clear());
recordings.onopen = (name) => review.open(name);
recordings.onopened = () => review.focus();

const PACE = 40; // ms between two pictures of the page
let level = 0;

function frame(now) {
  setTimeout(() => requestAnimationFrame(frame), PACE);
  review.tick();
  const recorded = review.name !== null;
  const { rows, changes } = recorded ? review.story : story;
  if (changes !== drawn) {
    captions.show(rows);
    place("empty").hidden = rows.length > 0 || !place("hero").hidden;
    drawn = changes;
  }
  if (recorded) picture.faces(review.faces, review.time);
  else picture.faces(chronicle.faces, time.now());
  robot.show(robots, recorded ? review.robots : robots, recorded ? review.time : time.now());
  panel.tick(now);
  const heard = talker.talking ? Math.round(Math.min(1, talker.microphone.level * 1.6) * 34) / 34 : 0;
  if (heard !== level) {
    level = heard;
    place("level").style.transform = `scaleX(${level})`;
  }
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
  if (place("state-text").textContent !== text) place("state-text").textContent = place("state").title = text;
  document.body.classList.toggle("talking", talking);
  document.body.classList.toggle("muted", talking && !!session?.muted);
  document.body.classList.toggle("refused", open && !!talker.refusal && !talking);
  captions.person = talking ? "You" : "Person";
  if (talking) chosen = true;
  const recorded = review.name !== null;
  place("hero").hidden = chosen || recorded;
  place("captions").hidden = !place("hero").hidden;
  place("controls").hidden = recorded && !talking; // who talks keeps Mute and Stop at hand
  place("write").hidden = recorded;
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
  for (const id of ["camera", "record", "stop", "text", "send", "open-behaviour"]) place(id).disabled = !open;
  const watchers = (session?.watchers ?? 1) - 1;
  place("watchers").textContent = open && watchers > 0 ? `${watchers} ${watchers === 1 ? "other watches" : "others watch"}` : "";
  if (!recorded) picture.own(talker.camera.isOpen);
}

setInterval(() => {
  if (link.state === "gone") render(); // it tells when it tries again
  figures.show({ link, talker, chronicle, price });
}, 500);

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
  const processing = settings.processing && session.echo === "browser"; // else the agent's canceller wants it unchanged
  await talker.talk(session.speech_rate, { ...settings, processing }, place("with-camera").checked && !chosen);
  devices();
}

const stop = () => {
  robot.release();
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
robot.onhalt = stop;
press("camera", async () => {
  if (talker.seeing) talker.release("camera");
  else await talker.see(settings);
  devices();
});
press("record", () => link.send({ type: "record", on: !session?.recording }));
press("open-recordings", () => recordings.show());
const adjust = () => behaviour.manner && behaviour.show();
press("open-behaviour", adjust);
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
    b: adjust,
    r: () => recordings.show(),
    "?": () => place("help").showModal(),
    "/": () => place("text").focus(),
  }[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  act();
});

// --- views, where there is room for one only

for (const button of document.querySelectorAll(".views button")) {
  button.addEventListener("click", () => {
    document.body.dataset.view = button.dataset.view;
    for (const each of document.querySelectorAll(".views button")) each.toggleAttribute("aria-current", false);
    button.setAttribute("aria-current", "true");
    panel.list.update(true);
  });
}

themed(() => panel.recolour());
begin();
render();
requestAnimationFrame(frame);
link.open();

// Events in words: one line, and what they were decided from. Names of fields are those of docs/events.md.

const WHY = {
  no_words: "noise, no words in it",
  backchannel: "a backchannel",
  echo: "the agent's own voice",
  aside: "said to somebody else",
  stop: "stop",
  noise: "noise",
  timeout: "nothing more came",
  interruption: "an interruption",
  new_turn: "the next turn is answered",
  typed: "something was typed",
  silence: "silence",
  max_wait: "the longest wait",
  no_final: "the recogniser's final words did not come",
  end_of_stream: "the stream ended",
  unasked: "by itself",
};

export const why = (reason) => WHY[reason] ?? reason.replaceAll("_", " ");
export const seconds = (value, digits = 2) => `${value.toFixed(digits)} s`;
const quoted = (text) => (text ? ` “${text}”` : "");
const called = ({ name, arguments: given = {} }) =>
  `${name}(${Object.entries(given).map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(", ")})`;

/** How the agent behaves if nobody says otherwise. */
export const USUAL = {
  persona: "", language: "", verbosity: "normal", patience: 1, interruptible: "always", proactivity: "news",
  backchannels: false, fillers: false, pictures: "look", forbidden_topics: [], forbidden_tools: [],
};
const MANNER = {
  persona: (text) => (text ? "another persona" : "no persona of its own"),
  language: (name) => (name ? `answers in ${name}` : "answers in the usual language"),
  verbosity: (how) => ({ brief: "brief answers", normal: "answers of normal length", full: "full answers" })[how],
  patience: (factor) => `patience ${factor}`,
  interruptible: (how) => (how === "stop" ? "only stop interrupts it" : "may be interrupted"),
  proactivity: (how) => ({ none: "says nothing unasked", news: "tells news", greets: "tells news and greets" })[how],
  backchannels: (on) => `backchannels ${on ? "on" : "off"}`,
  fillers: (on) => `fillers ${on ? "on" : "off"}`,
  pictures: (when) => ({ never: "sees no pictures", look: "sees a picture when it looks", always: "sees every picture" })[when],
  forbidden_topics: (list) => (list.length ? `does not talk about ${list.join(", ")}` : "no forbidden topics"),
  forbidden_tools: (list) => (list.length ? `does not use ${list.join(", ")}` : "no forbidden tools"),
};

/** In what `manner` differs from `before`, in words. Of a long persona both may be the beginning only. */
export function behaves(manner, before = USUAL) {
  const short = (value) => JSON.stringify(typeof value === "string" ? value.slice(0, 300) : value);
  const names = Object.keys(MANNER).filter((name) => name in manner && short(manner[name]) !== short(before[name]));
  return names.map((name) => MANNER[name](manner[name])).join(", ");
}

/** Minutes and seconds, such as "4:07.2". */
export function clock(t, digits = 1) {
  const whole = Math.max(0, t);
  const rest = (whole % 60).toFixed(digits);
  return `${Math.floor(whole / 60)}:${rest.padStart(digits ? digits + 3 : 2, "0")}`;
}

/** What happened, in a line. */
export function tell(event) {
  const e = event;
  switch (e.type) {
    case "SpeechStarted": return "Somebody began to speak";
    case "SpeechEnded": return "The speech ended";
    case "Words": return `${e.final ? "Heard" : "Hears"}${quoted(e.text) || (e.guess ? ` something like “${e.guess}”` : " no words")}`;
    case "TurnEnd": return `End of turn ${percent(e.probability)}, by ${e.model}`;
    case "Echo": return `Own voice in the microphone ${percent(e.similarity)}`;
    case "Faces": return faces(e.faces);
    case "Typed": return `Typed${quoted(e.text)}`;
    case "StopPressed": return `${e.latch ? "Emergency stop, until it is reset" : "Stop pressed"} (${e.by})`;
    case "Steered":
    case "Steer": return steered(e);
    case "Attached": return `Robot ${e.where} is attached${e.model ? `: ${e.model}` : ""}`;
    case "BodyState": return body(e);
    case "Progress": return `${e.name} at ${e.where}: ${e.state}${typeof e.progress === "number" ? ` ${percent(e.progress)}` : ""}${e.detail ? `, ${e.detail}` : ""}`;
    case "Tripped": return `Guard ${e.guard} of ${e.where}: ${[e.reason, e.detail].filter(Boolean).join(", ") || e.level}${e.count > 1 ? ` (${e.count} times)` : ""}`;
    case "TurnOpened": return `Turn ${e.turn} began`;
    case "TurnWaiting": return `Turn ${e.turn}: end ${percent(e.probability)}, waits ${seconds(e.wait_ns / 1e9)}`;
    case "TurnCommitted": return `Turn ${e.turn} taken (${why(e.reason)})${quoted(e.text)}`;
    case "TurnDropped": return `Turn ${e.turn} let go: ${why(e.reason)}${quoted(e.text)}`;
    case "OverlapPaused": return "Somebody speaks over the agent: it pauses";
    case "OverlapResumed": return `The agent goes on: ${why(e.reason)}${quoted(e.text)}`;
    case "OverlapCut": return `The agent is cut: ${why(e.reason)}${quoted(e.text)}`;
    case "SensesEnded": return "The senses have ended";
    case "Say": return `The agent is to say something (${e.text.split(/\s+/).length} words)`;
    case "Pause": return "Pause";
    case "Resume": return "Go on";
    case "Hush": return `Hush${e.reason ? `: ${why(e.reason)}` : ""}`;
    case "Call": return `Tool ${called(e)}`;
    case "Command": return `Command ${called(e)}`;
    case "Halt": return `Everything halts: ${e.reason}`;
    case "PlayStarted": return "The agent's first sound";
    case "Played": return `Heard from the agent${quoted(e.text)}`;
    case "Adjusted": return `Behaviour${e.by ? ` (${e.by})` : ""}: ${behaves(e.manner) || "as usual"}`;
    case "Ask": return `Asks the model (${e.purpose}): ${e.messages ?? "?"} messages, ${e.tools ?? "?"} tools, ${((e.bytes ?? 0) / 1000).toFixed(1)} kB${e.picture_ns ? ", with the newest picture" : ""}`;
    case "Delta": return delta(e);
    case "Withdraw": return `Question ${e.id} taken back: ${e.reason}`;
    case "Offered": return `${e.where} offers ${e.offered ?? e.offers.length}: ${e.offers.map(({ name }) => name).join(", ")}`;
    case "Outcome": return e.action === "Ask" ? answered(e) : `${e.action === "Say" ? "Saying" : e.name}: ${e.status}${e.detail ? `, ${e.detail}` : ""}`;
    case "Fault": return `Fault in ${e.where}: ${e.message}`;
    case "Recovered": return `${e.where} is back${e.message ? `: ${e.message}` : ""}`;
    case "Gauge": return `${e.where}: ${e.name} ${number(e.value)}`;
    case "Voice": return `Voice ${percent(e.probability)}`;
    default: return e.type;
  }
}

function steered({ vx, vy, wz, robot }) {
  if (!vx && !vy && !wz) return `Nobody steers${robot ? ` ${robot}` : ""}`;
  return `Steers${robot ? ` ${robot}` : ""} by hand: ${[[vx, "m/s forward"], [vy, "m/s to the left"], [wz, "rad/s"]].filter(([value]) => value).map(([value, unit]) => `${number(value)} ${unit}`).join(", ")}`;
}

function body({ where, link, estop, mode, pose, guards }) {
  const parts = [link === "heard" ? "" : link, estop === "latched" ? "its stop is latched" : "", mode, pose ? `at ${pose.slice(0, 2).map((value) => `${value?.toFixed(2)}`).join(", ")} m` : "", guards.length ? `held back by ${guards.join(", ")}` : ""];
  return `${where}: ${parts.filter(Boolean).join(", ") || "heard"}`;
}

function delta({ index, text, tools, thought_characters: thought, sound }) {
  if (text) return `${index ? "The model goes on" : "The model begins"}${quoted(text)}`;
  if (tools?.length) return `The model calls ${tools.map(({ name }) => name).filter(Boolean).join(", ") || "on"}`;
  return thought ? `The model thinks (${thought} characters)` : `The model begins${sound ? " to speak" : ""}`;
}

function answered({ name, status, detail, result }) {
  const { first_ms: first, output_tokens: tokens } = result ?? {};
  const how = [status, detail, typeof first === "number" ? `first piece after ${seconds(first / 1000)}` : "", tokens ? `${tokens} tokens` : ""];
  return `Model ${name}: ${how.filter(Boolean).join(", ")}`;
}

const HIDDEN = new Set(["offers", "t", "at", "topic", "type", "order", "words", "evidence", "faces"]);

/** What there is to know of it: pairs of a name and a text. */
export function particulars(event) {
  const pairs = [["at", `${clock(event.t, 3)} (known at ${clock(event.at, 3)})`]];
  const add = (name, value) => {
    if (value === "" || value === null || value === undefined) return;
    const span = name.endsWith("_ns");
    pairs.push([name.replace(/_ns$/, "").replaceAll("_", " "), span ? seconds(value / 1e9, 3) : typeof value === "number" ? number(value) : typeof value === "object" ? JSON.stringify(value) : String(value)]);
  };
  for (const [name, value] of Object.entries(event)) if (!HIDDEN.has(name) && !spread(event, name)) add(name, value);
  for (const name of ["result", "manner", "arguments"]) {
    if (spread(event, name)) for (const [key, value] of Object.entries(event[name])) add(key, value);
  }
  for (const [name, value] of Object.entries(event.evidence ?? {})) add(`evidence: ${name}`, value);
  for (const face of event.faces ?? []) add(`face ${face.id}`, `${where(face)}, ${distance(face)}, sure to ${percent(face.confidence)}`);
  return pairs;
}

/** Whether the field is told field by field. */
const spread = (event, name) =>
  (name === "result" && event.action === "Ask" && event.result !== null) || (name === "manner" && event.type === "Adjusted") || (name === "arguments" && typeof event.arguments === "object");

export const percent = (value) => `${Math.round(value * 100)} %`;

function number(value) {
  if (Number.isInteger(value)) return String(value);
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

/** Who is there, such as "2 people: 3 in the middle, near; 4 at the right, far away". */
export function faces(list) {
  if (!list.length) return "Nobody to be seen";
  const each = list.map((face) => `${face.id} ${where(face)}, ${distance(face)}`).join("; ");
  return `${list.length === 1 ? "1 person" : `${list.length} people`}: ${each}`;
}

function where(face) {
  const middle = face.left + face.width / 2;
  return middle < 0.36 ? "at the left" : middle > 0.64 ? "at the right" : "in the middle";
}

function distance(face) {
  return face.height > 0.4 ? "near" : face.height < 0.13 ? "far away" : "a step or two away";
}

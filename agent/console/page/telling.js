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
    case "StopPressed": return `Stop pressed (${e.by})`;
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
    case "Outcome": return `${e.action === "Say" ? "Saying" : e.name}: ${e.status}${e.detail ? `, ${e.detail}` : ""}`;
    case "Fault": return `Fault in ${e.where}: ${e.message}`;
    case "Recovered": return `${e.where} is back${e.message ? `: ${e.message}` : ""}`;
    case "Gauge": return `${e.where}: ${e.name} ${number(e.value)}`;
    case "Voice": return `Voice ${percent(e.probability)}`;
    default: return e.type;
  }
}

const HIDDEN = new Set(["t", "at", "topic", "type", "order", "words", "evidence", "faces"]);

/** What there is to know of it: pairs of a name and a text. */
export function particulars(event) {
  const pairs = [["at", `${clock(event.t, 3)} (known at ${clock(event.at, 3)})`]];
  const add = (name, value) => {
    if (value === "" || value === null || value === undefined) return;
    const span = name.endsWith("_ns");
    pairs.push([name.replace(/_ns$/, "").replaceAll("_", " "), span ? seconds(value / 1e9, 3) : typeof value === "number" ? number(value) : typeof value === "object" ? JSON.stringify(value) : String(value)]);
  };
  for (const [name, value] of Object.entries(event)) if (!HIDDEN.has(name)) add(name, value);
  for (const [name, value] of Object.entries(event.evidence ?? {})) add(`evidence: ${name}`, value);
  for (const face of event.faces ?? []) add(`face ${face.id}`, `${where(face)}, ${distance(face)}, sure to ${percent(face.confidence)}`);
  return pairs;
}

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

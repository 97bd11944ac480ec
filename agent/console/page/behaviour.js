// The panel of behaviour: shows how the agent behaves, and sends what somebody changes, field by field.

const PAUSE = 250; // ms: what is changed within that goes together
const place = (id) => document.getElementById(id);

export class BehaviourPanel {
  manner = null; // as the server last told it
  #link;
  #dialog = place("behaviour");
  #state = place("behaviour-state");
  #controls = [...place("manner").elements].filter(({ name }) => name);
  #shown = new Map(); // control -> what it said when it was last written: a slider may round what it is given
  #changed = new Set(); // controls whose change has not been sent
  #timer = 0;
  #waiting = false; // something was sent and not answered

  constructor(link) {
    this.#link = link;
    for (const control of this.#controls) {
      control.addEventListener("change", () => this.#change(control));
      control.addEventListener("input", () => this.#label());
    }
    place("manner").addEventListener("submit", (event) => event.preventDefault());
    this.#dialog.addEventListener("close", () => this.#leave());
  }

  /** `tools`: names of what the agent can use, as far as it is known. */
  knows(tools) {
    place("tools-hint").textContent = tools.length ? `It has: ${tools.join(", ")}.` : "";
  }

  show() {
    this.#say("");
    this.#changed.clear();
    this.#write(() => true);
    this.#dialog.showModal();
  }

  /** The server's word. `who`: "" or who changed it. What somebody is writing just now stays as it is. */
  hear(manner, who = "") {
    const writing = (control) => control === document.activeElement && this.#dialog.open && this.#differs(control);
    const busy = this.#controls.filter((control) => this.#changed.has(control) || writing(control));
    this.manner = manner;
    this.#write((control) => !busy.includes(control));
    if (who) this.#say(who === "you" ? "Changed." : `Changed by ${who}.`);
    this.#waiting = false;
    if (this.#changed.size) this.#later(); // what waits for a connection
  }

  /** Whether `message` is an answer to what was sent here: then it is told here, and undone; a text can be corrected. */
  refused(message) {
    if (!this.#waiting || !this.#dialog.open) return false;
    this.#waiting = false;
    this.#write((control) => !isText(control));
    this.#say(message, true);
    return true;
  }

  /** Show the manner in the controls that are `due`. */
  #write(due) {
    for (const control of this.#controls.filter(due)) {
      write(control, this.manner[control.name]);
      this.#shown.set(control, JSON.stringify(read(control)));
    }
    this.#label();
  }

  #change(control) {
    this.#changed.add(control);
    this.#later();
  }

  #later() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#send(), PAUSE);
  }

  #leave() {
    for (const control of this.#controls) if (this.#differs(control)) this.#changed.add(control);
    this.#send();
  }

  #differs(control) {
    return this.manner !== null && JSON.stringify(read(control)) !== this.#shown.get(control);
  }

  #send() {
    clearTimeout(this.#timer);
    const changed = [...this.#changed].filter((control) => this.#differs(control));
    this.#changed = new Set(changed);
    if (!changed.length) return;
    const changes = Object.fromEntries(changed.map((control) => [control.name, read(control)]));
    this.#waiting = this.#link.send({ type: "adjust", changes });
    if (this.#waiting) this.#changed.clear();
    else this.#say("Not changed yet: there is no connection.", true);
  }

  #say(text, wrong = false) {
    this.#state.textContent = text;
    this.#state.classList.toggle("wrong", wrong);
  }

  #label() {
    const { value } = place("patience");
    const text = `${Number(value).toFixed(1)} ×`;
    place("patience-told").textContent = text;
    place("patience").setAttribute("aria-valuetext", `${Number(value).toFixed(1)} times the usual wait`);
  }
}

const isText = (control) => control.tagName === "TEXTAREA" || control.type === "text";

function read(control) {
  if (control.type === "checkbox") return control.checked;
  if (control.type === "range") return Number(control.value);
  if (control.dataset.lines !== undefined) return control.value.split("\n").map((line) => line.trim()).filter(Boolean);
  return control.value.trim();
}

function write(control, value) {
  if (control.type === "checkbox") control.checked = value;
  else control.value = Array.isArray(value) ? value.join("\n") : value;
}

// The list of recordings: open one, download it, or send a file of one's own to be looked at.

import { clock } from "./telling.js";

const place = (id) => document.getElementById(id);

export class Recordings {
  onopen = () => {}; // (name): returns a promise
  onopened = () => {}; // when the list has gone
  #link;
  #dialog = place("recordings");
  #state = place("upload-state");

  constructor(link) {
    this.#link = link;
    place("upload").addEventListener("change", (event) => this.#upload(event.target));
  }

  show() {
    this.#state.textContent = "";
    this.#dialog.showModal();
    return this.refresh();
  }

  /** Ask for the list again, if it is being looked at. */
  async refresh() {
    if (!this.#dialog.open) return;
    try {
      const answer = await fetch(this.#link.address("api/recordings"));
      if (!answer.ok) throw new Error(answer.statusText);
      this.#fill(await answer.json());
    } catch (error) {
      this.#state.textContent = `The list could not be had: ${error.message}.`;
    }
  }

  #fill(found) {
    const rows = found.map((each) => this.#row(each));
    if (!rows.length) rows.push(Object.assign(document.createElement("li"), { textContent: "None yet. Switch on Record to make one." }));
    place("recording-list").replaceChildren(...rows);
  }

  #row({ name, bytes, duration_s: duration, started, open }) {
    const row = document.createElement("li");
    const about = document.createElement("div");
    const parts = [open ? "being recorded" : clock(duration ?? 0, 0), size(bytes), started ? new Date(started).toLocaleString() : ""];
    about.append(
      Object.assign(document.createElement("div"), { className: "title", textContent: name }),
      Object.assign(document.createElement("div"), { className: "quiet", textContent: parts.filter(Boolean).join(" · ") }),
    );
    const look = Object.assign(document.createElement("button"), { type: "button", textContent: "Open", disabled: open });
    look.setAttribute("aria-label", `Open ${name}`);
    look.addEventListener("click", () => this.#open(name));
    const load = Object.assign(document.createElement("a"), { textContent: "Download", download: name });
    load.href = this.#link.address(`api/recordings/${encodeURIComponent(name)}`);
    load.setAttribute("aria-label", `Download ${name}`);
    row.append(about, look, load);
    return row;
  }

  async #open(name) {
    this.#state.textContent = `Reading ${name} …`;
    try {
      await this.onopen(name);
      this.#state.textContent = "";
      this.#dialog.close();
      this.onopened();
    } catch (error) {
      this.#state.textContent = error.message;
    }
  }

  async #upload(input) {
    const [file] = input.files;
    if (!file) return;
    this.#state.textContent = `Sending ${file.name} (${size(file.size)}) …`;
    try {
      const answer = await fetch(this.#link.address("api/recordings", { name: file.name }), { method: "POST", body: file });
      if (!answer.ok) throw new Error((await answer.text()) || answer.statusText);
      const { name } = await answer.json();
      await this.refresh();
      await this.#open(name);
    } catch (error) {
      this.#state.textContent = `${file.name} was not taken: ${error.message}`;
    }
    input.value = "";
  }
}

function size(bytes) {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

// The panel of figures: how well the connection, the sound and the devices do.

const panel = document.getElementById("figures-panel");
const list = document.getElementById("figures");

export class Figures {
  #count = 0;
  #at = 0;

  constructor() {
    panel.open = matchMedia("(min-width: 861px)").matches;
  }

  show({ link, talker, chronicle }) {
    const now = performance.now();
    const rate = Math.max(0, ((chronicle.count - this.#count) * 1000) / (now - this.#at));
    this.#count = chronicle.count;
    this.#at = now;
    if (!panel.open) return;
    const { underruns, heldMs, lost, latencyMs } = talker.speaker.figures;
    const rows = [
      ["one way to the server", link.trip === null ? "–" : `${(link.trip / 2).toFixed(1)} ms`],
      ["events", `${rate.toFixed(0)} /s`],
      ["microphone blocks sent", talker.sent],
      ["frames not sent (line full)", link.dropped],
      ["connections lost", link.reconnects],
      ["sound: late (underruns)", underruns],
      ["sound: frames missing", lost],
      ["sound: waiting", `${heldMs.toFixed(0)} ms`],
      ["sound: on its way out", `${latencyMs.toFixed(0)} ms`],
      ...[...chronicle.gauges].map(([name, value]) => [name, Number.isInteger(value) ? value : value.toPrecision(3)]),
    ];
    while (list.children.length > rows.length * 2) list.lastElementChild.remove();
    rows.flat().forEach((text, at) => {
      if (!list.children[at]) list.append(document.createElement(at % 2 ? "dd" : "dt"));
      if (list.children[at].textContent !== String(text)) list.children[at].textContent = text;
    });
  }
}

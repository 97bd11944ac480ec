// The panel of figures: how well the connection, the sound and the devices do.

const panel = document.getElementById("figures-panel");
const list = document.getElementById("figures");

export class Figures {
  #count = 0;
  #at = 0;

  constructor() {
    panel.open = matchMedia("(min-width: 861px)").matches;
  }

  show({ link, talker, chronicle, price }) {
    const now = performance.now();
    const rate = Math.max(0, ((chronicle.count - this.#count) * 1000) / (now - this.#at));
    this.#count = chronicle.count;
    this.#at = now;
    if (!panel.open) return;
    const { underruns, heldMs, lost, latencyMs } = talker.speaker.figures;
    const rows = [
      ...thought(chronicle.mind, price),
      ["one way to the server", link.trip === null ? "–" : `${(link.trip / 2).toFixed(1)} ms`],
      ["sound travels by", talker.peer.isOpen ? "WebRTC" : "WebSocket"],
      ["events", `${rate.toFixed(0)} /s`],
      ["microphone blocks sent", talker.sent],
      ["frames not sent (line full)", link.dropped],
      ["connections lost", link.reconnects],
      ["sound: late (underruns)", underruns],
      ["sound: frames missing", lost],
      ["sound: asked for again", talker.order.asked],
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

/** What the language model did in this session. */
function thought(mind, price) {
  if (!mind.asked) return [];
  const { asked, drafts, thrown, failed, first, input, output } = mind;
  const cost = mind.cost(price);
  const rows = [["model: questions", failed ? `${asked}, ${failed} failed` : asked]];
  if (drafts) rows.push(["model: drafts taken", `${drafts - thrown} of ${drafts}`]);
  rows.push(["model: first piece (median)", first === null ? "–" : `${(first * 1000).toFixed(0)} ms`]);
  rows.push(["model: tokens in, out", `${input}, ${output}`]);
  if (cost !== null) rows.push(["model: cost", cost.toPrecision(3)]);
  return rows;
}

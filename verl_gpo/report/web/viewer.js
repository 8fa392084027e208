// The list, of which only what is visible exists, the filters, and the keys.

const ROW = 52;

class Viewer {
  constructor(index) {
    this.rows = index.rows;
    this.index = index;
    this.blocks = new Map();
    this.shown = [];
    this.current = null;
    this.step = null;
    this.redraw = () => {};
    this.list = $("list");
    this.list.addEventListener("scroll", () => this.renderList(), {passive: true});
    new ResizeObserver(() => this.renderList()).observe(this.list);
    this.resized = new ResizeObserver(() => this.redraw()); // of what is shown: it grows as things unfold
    const form = $("filters");
    form.addEventListener("input", () => this.filter());
    form.addEventListener("reset", () => setTimeout(() => this.filter()));
    form.addEventListener("submit", (event) => event.preventDefault());
    $("previous").addEventListener("click", () => this.move(-1));
    $("next").addEventListener("click", () => this.move(1));
    $("toggle-list").addEventListener("click", () => $("traces").classList.toggle("listing"));
    document.addEventListener("keydown", (event) => this.key(event));
    const wanted = Number(new URLSearchParams(location.hash.slice(1)).get("t"));
    this.filter(Number.isInteger(wanted) && wanted < this.rows.length ? wanted : 0);
  }

  filter(open = null) {
    this.shown = select(this.rows, Object.fromEntries(new FormData($("filters"))));
    const sampled = this.index.sampled ? ` (a sample: ${figure(this.index.sampled[0])} of ${figure(this.index.sampled[1])} traces)` : "";
    $("count").textContent = `${figure(this.shown.length)} of ${figure(this.rows.length)} trajectories${sampled}`;
    $("spacer").style.height = `${this.shown.length * ROW}px`;
    if (open !== null && this.shown.includes(open)) this.open(open);
    else if (!this.shown.includes(this.current)) this.open(this.shown[0]);
    else this.renderList();
  }

  renderList() {
    const first = Math.max(0, Math.floor(this.list.scrollTop / ROW) - 4);
    const last = Math.min(this.shown.length, first + Math.ceil(this.list.clientHeight / ROW) + 8);
    const nodes = [];
    for (let place = first; place < last; place++) nodes.push(this.row(place));
    $("spacer").replaceChildren(...nodes);
  }

  row(place) {
    const number = this.shown[place];
    const row = this.rows[number];
    const found = row.critical === null ? "abstained" : `critical ${row.critical} of ${row.steps} · ${share(row.confidence)}`;
    const truth = row.true === undefined ? "" : row.true === row.critical ? " ✓" : ` (true: ${row.true ?? "none"})`;
    return h("div", {
      class: `row ${row.solved ? "good" : "bad"}`, role: "option", id: `row-${number}`, "data-number": number,
      "aria-selected": String(number === this.current), style: {top: `${place * ROW}px`},
      onclick: () => { this.open(number); $("traces").classList.remove("listing"); },
    },
    h("span", {class: "mark"}, row.solved ? "✓" : "✗"),
    h("span", {class: "row-text"}, h("span", {class: "row-prompt"}, row.text || row.uid || "(empty prompt)"),
      h("small", {}, `${row.step === null ? "" : `step ${row.step} · `}${found}${truth}`)));
  }

  /** Show a trajectory. Should another be asked for while its block is decompressed, that one wins. */
  async open(number) {
    this.current = number ?? null;
    this.step = null;
    this.renderList();
    if (this.current === null) {
      this.redraw = () => {};
      $("detail").replaceChildren(h("p", {class: "nothing"}, this.rows.length ? "No trajectory passes the filters." : "No traces."));
      return;
    }
    this.showInList();
    const block = Math.floor(number / this.index.block);
    if (!this.blocks.has(block)) {
      if (this.blocks.size >= 20) this.blocks.delete(this.blocks.keys().next().value);
      this.blocks.set(block, unpackJson(`block-${block}`));
    }
    const trajectory = (await this.blocks.get(block))[number % this.index.block];
    if (this.current !== number) return;
    this.trajectory = trajectory;
    const {node, redraw} = renderTrajectory(trajectory);
    this.redraw = redraw;
    $("detail").replaceChildren(node);
    $("detail").scrollTop = 0;
    this.resized.disconnect();
    this.resized.observe(node);
    redraw();
    history.replaceState(null, "", `#t=${number}`);
  }

  showInList() {
    const top = this.shown.indexOf(this.current) * ROW;
    const {scrollTop, clientHeight} = this.list;
    if (top < scrollTop) this.list.scrollTop = top;
    else if (top + ROW > scrollTop + clientHeight) this.list.scrollTop = top + ROW - clientHeight;
  }

  move(by) {
    const place = this.shown.indexOf(this.current) + by;
    if (place >= 0 && place < this.shown.length) return this.open(this.shown[place]);
  }

  selectStep(step) {
    const count = this.trajectory ? this.trajectory.steps.length : 0;
    if (!count) return;
    this.step = Math.max(0, Math.min(step, count - 1));
    for (const node of document.querySelectorAll(".step.selected")) node.classList.remove("selected");
    const node = $(`step-${this.step}`);
    node.classList.add("selected");
    node.scrollIntoView({block: "nearest"});
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || $("traces").hidden) return;
    if (event.target.closest("input, select, dialog")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    // Enter on a focused button or fold is the browser's own.
    if ((event.key === "Enter" || event.key === " ") && event.target.closest("button, summary")) return;
    const here = this.step ?? -1;
    const action = {
      j: () => this.move(1), ArrowDown: () => this.move(1), k: () => this.move(-1), ArrowUp: () => this.move(-1),
      ArrowRight: () => this.selectStep(here + 1), ArrowLeft: () => this.selectStep(here - 1),
      Enter: () => document.querySelector(`[data-state="${Math.max(here, 0)}"]`)?.click(),
      c: () => this.trajectory?.critical && this.selectStep(this.trajectory.critical.step),
      p: () => document.querySelector("details.prompt")?.toggleAttribute("open"),
      "/": () => { $("traces").classList.add("listing"); $("filters").elements.text.focus(); },
      "?": () => $("help").showModal(),
    }[event.key];
    if (action) {
      event.preventDefault();
      action();
    }
  }
}

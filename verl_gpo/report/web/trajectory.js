// One trajectory: its steps coloured by advantage, the value curve beside them, what was drawn at each state.

/**
 * The advantage that each step is coloured by: its own, or, between two valued states with unvalued ones in between,
 * its share of what the value gained there.
 * Returns [{value, own}], value null where nothing is known.
 */
function stepGains(states) {
  const known = [...states.keys()].filter((k) => states[k].value !== null);
  const gains = Array.from({length: Math.max(states.length - 1, 0)}, () => ({value: null, own: false}));
  known.slice(1).forEach((to, i) => {
    const from = known[i];
    const value = (states[to].value - states[from].value) / (to - from);
    for (let k = from; k < to; k++) gains[k] = {value, own: to - from === 1};
  });
  return gains;
}

/** Background of a step: blue gains, orange loses; the stronger, the more. */
function stepColor(gain, range) {
  if (gain.value === null || Math.abs(gain.value) < 1e-9) return {};
  const alpha = 0.06 + 0.44 * Math.min(Math.abs(gain.value) / range, 1);
  const color = `rgba(${gain.value > 0 ? "var(--gain)" : "var(--loss)"}, ${alpha.toFixed(3)})`;
  if (gain.own) return {background: color};
  return {background: `repeating-linear-gradient(135deg, ${color} 0 6px, transparent 6px 10px)`};
}

const pill = (text, kind = "", title = null) => h("span", {class: `pill ${kind}`, title}, text);

function continuationCard(continuation, solvedFrom) {
  const about = [`${figure(continuation.tokens)} tokens`];
  if (continuation.seconds != null) about.push(`${figure(continuation.seconds)} s`);
  if (continuation.cached_tokens != null) about.push(`${figure(continuation.cached_tokens)} cached`);
  if (continuation.cut) about.push(`${figure(continuation.cut)} characters left out`);
  const solved = continuation.reward >= solvedFrom;
  return h("details", {class: `card ${solved ? "good" : "bad"}`},
    h("summary", {},
      h("span", {class: "mark", "aria-hidden": "true"}, solved ? "✓" : "✗"), `reward ${figure(continuation.reward)} `,
      h("small", {}, about.join(" · ")), " ",
      continuation.learnt && pill("learnt from", "learnt"), continuation.valued && pill("in the value", "quiet"),
      h("span", {class: "preview"}, continuation.text.slice(0, 160))),
    continuation.parts ? spoken(continuation.parts) : h("pre", {dir: "auto"}, continuation.text));
}

function stateLine(t, k, solvedFrom) {
  const state = t.states[k];
  const {continuations} = state;
  const last = k === t.steps.length;
  const resets = t.reset_state === k;
  const truth = t.true_values && t.true_values[k] != null ? ` · true ${share(t.true_values[k])}` : "";
  let label = "not valued";
  if (state.value !== null) {
    const from = last ? "outcome" : k === 0 && !continuations.length ? `${state.count} roots` : `${state.count} reward${state.count > 1 ? "s" : ""}`;
    const bounds = state.count ? ` [${share(state.low)}, ${share(state.high)}]` : "";
    label = `${share(state.value)}${bounds} · ${from}`;
  }
  const box = h("div", {class: "drawn", hidden: true});
  const button = h("button", {
    class: "state", "data-state": k, "aria-expanded": continuations.length ? "false" : null, disabled: !continuations.length,
    onclick: () => {
      if (!box.childElementCount) box.append(...continuations.map((item) => continuationCard(item, solvedFrom)));
      box.hidden = !box.hidden;
      button.setAttribute("aria-expanded", String(!box.hidden));
    },
  },
  h("span", {class: "v"}, `V(s${k}) `, h("b", {}, label), truth),
  h("span", {class: "dots"}, continuations.slice(0, 24).map((item) =>
    h("i", {class: `${item.reward >= solvedFrom ? "good" : "bad"} ${item.learnt ? "learnt" : ""}`}))),
  continuations.length > 0 && h("span", {class: "fold"}, `${continuations.length} continuation${continuations.length > 1 ? "s" : ""}`),
  resets && pill("reset here", "reset", "re-entry rollouts start at this state"));
  return h("div", {class: `state-row ${state.value === null && !continuations.length && !resets ? "empty" : ""}`}, button, box);
}

function stepRow(t, k, gain, range) {
  const step = t.steps[k];
  const critical = t.critical && t.critical.step === k;
  const isTrue = t.true_critical === k;
  const what = stepName(t);
  return h("div", {class: `step ${critical ? "critical" : ""} ${isTrue ? "true" : ""}`, "data-step": k, id: `step-${k}`},
    h("div", {class: "gutter"}, h("b", {}, String(k)), step.advantage != null && h("small", {}, signed(step.advantage))),
    h("div", {class: "text"},
      beginsTurn(t, k) && h("div", {class: "speaker"}, `policy · turn ${step.turn}`),
      (critical || isTrue) && h("div", {class: "badges"},
        critical && pill(`critical ${what} · A ${signed(t.critical.advantage)} · confidence ${share(t.critical.confidence)}`, "critical"),
        isTrue && pill(`true critical ${what}`, "true")),
      h("pre", {dir: "auto", style: stepColor(gain, range), title: `tokens ${step.start} to ${step.end}`}, ...withCalls(t, step)),
      step.cut && h("small", {}, `${figure(step.cut)} characters left out`)));
}

/** The value curve: at the height of each state's line its value, from left (least reward) to right (greatest). */
function drawCurve(t, lines, svg) {
  const [low, high] = t.reward_range;
  const box = svg.getBoundingClientRect();
  if (!box.width) return;
  const x = (value) => 8 + ((value - low) / (high - low || 1)) * (box.width - 16);
  const y = lines.map((line) => {
    const place = line.firstChild.getBoundingClientRect();
    return place.top + place.height / 2 - box.top;
  });
  const parts = [low, (low + high) / 2, high].map((value) => h("line", {class: "grid", x1: x(value), x2: x(value), y1: 0, y2: box.height}));
  if (t.true_values) {
    const points = t.true_values.map((value, k) => (value === null || k >= y.length ? null : `${x(value)},${y[k]}`));
    parts.push(h("polyline", {class: "truth", points: points.filter(Boolean).join(" ")}));
  }
  const known = [...t.states.keys()].filter((k) => t.states[k].value !== null);
  known.slice(1).forEach((k, i) => {
    const before = known[i];
    const critical = t.critical && t.critical.step === before && k === before + 1;
    parts.push(h("line", {
      class: `curve ${k - before > 1 ? "gap" : ""} ${critical ? "critical" : ""}`,
      x1: x(t.states[before].value), y1: y[before], x2: x(t.states[k].value), y2: y[k],
    }));
  });
  for (const k of known) {
    const state = t.states[k];
    if (state.count) parts.push(h("line", {class: "interval", x1: x(state.low), x2: x(state.high), y1: y[k], y2: y[k]}));
    parts.push(h("circle", {class: t.reset_state === k ? "reset" : "", cx: x(state.value), cy: y[k], r: state.count ? 4 : 3}));
  }
  svg.replaceChildren(...parts);
}

function facts(t) {
  const usage = Object.values(t.usage || {});
  const sum = (key) => usage.reduce((total, phase) => total + (phase[key] || 0), 0);
  const learnt = t.states.flatMap((state) => state.continuations).filter((item) => item.learnt);
  const roots = t.root_rewards || [];
  const mean = (values) => (values.length ? values.reduce((a, b) => a + b, 0) / values.length : null);
  const truth = t.ground_truth === null || t.ground_truth === undefined ? null : t.ground_truth;
  const pairs = [
    ["outcome", `reward ${figure(t.reward)}; ${roots.length} roots: ${share(mean(roots))}`],
    ["learnt from", learnt.length ? `${learnt.length}, mean reward ${share(mean(learnt.map((item) => item.reward)))}` : "nothing"],
    [`critical ${stepName(t)}`, t.critical ? `${t.critical.step} of ${t.steps.length}, confidence ${share(t.critical.confidence)}` : "none: abstained"],
    t.true_critical !== undefined && [`true critical ${stepName(t)}`, t.true_critical === null ? "none" : String(t.true_critical)],
    ["chosen by", [t.search, t.rule].filter(Boolean).join(", ") || "–"],
    ["drawn for the prompt", `${figure(sum("requests"))} continuations, ${figure(sum("tokens"))} tokens, ${figure(sum("seconds"))} s`],
    truth !== null && ["ground truth", typeof truth === "string" ? truth : JSON.stringify(truth)],
    t.model_version != null && ["weights of step", String(t.model_version)],
  ];
  return h("dl", {class: "facts"}, pairs.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

/** Everything of one trajectory; `redraw` draws the curve once the elements have their places. */
function renderTrajectory(t) {
  const range = (t.reward_range[1] - t.reward_range[0]) || 1;
  const solvedFrom = t.solved_reward ?? 0.5;
  const gains = stepGains(t.states);
  const lines = t.states.map((_, k) => stateLine(t, k, solvedFrom));
  const svg = h("svg", {class: "lane", "aria-hidden": "true"});
  const steps = h("div", {class: "steps"},
    t.steps.flatMap((_, k) => [environmentRow(t, k), lines[k], stepRow(t, k, gains[k], range)]), lines[t.steps.length], svg);
  const node = h("div", {},
    h("header", {},
      h("h2", {}, [t.global_step != null && `Step ${t.global_step}`, t.data_source, t.sample_index != null && `prompt ${t.sample_index}`,
        `response ${t.anchor}`].filter(Boolean).join(" · ")),
      pill(t.solved ? "solved" : "failed", t.solved ? "good" : "bad"), " ", h("small", {class: "uid"}, t.uid || "")),
    facts(t),
    h("details", {class: "prompt"}, h("summary", {}, "Prompt"), h("pre", {dir: "auto"}, t.prompt)),
    h("p", {class: "legend"}, h("i", {class: "loss"}), " loses value ", h("i", {class: "gain"}), " gains value ",
      h("i", {class: "shared"}), " shared between unvalued states · curve: value from ", figure(t.reward_range[0]), " to ",
      figure(t.reward_range[1]), ", bars 95 % intervals", t.true_values && ", dashed: true values"),
    steps);
  return {node, redraw: () => drawCurve(t, lines, svg)};
}

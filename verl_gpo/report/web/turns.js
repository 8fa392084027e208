// Trajectories of several turns: who speaks, what was called, and what the environment answered.

/** Arguments of a tool call that are longer than this are folded where the policy wrote them. */
const LONG_ARGUMENTS = 120;

/** A trajectory has turns if its steps say which one they belong to. */
const hasTurns = (t) => t.steps.some((step) => step.turn !== undefined);

const beginsTurn = (t, k) => t.steps[k].turn !== undefined && (k === 0 || t.steps[k - 1].turn !== t.steps[k].turn);

/** What a step is: a turn where every turn is one step, else a step. */
const stepName = (t) => (hasTurns(t) && t.steps.every((_, k) => beginsTurn(t, k)) ? "turn" : "step");

const callsOf = (t, turn) => (t.calls || []).filter((call) => call.turn === turn);

/** What happened between the turns before step k: the calls of the turn before it, and their answers, folded. */
function environmentRow(t, k) {
  const {before} = t.steps[k];
  if (!before || k === 0) return null;
  const calls = callsOf(t, t.steps[k - 1].turn);
  const summary = calls.map((call) => h("span", {class: "call"},
    h("b", {}, call.tool), " ", h("code", {}, call.arguments), " → ", h("code", {}, call.answer),
    call.reward ? ` · reward ${figure(call.reward)}` : null));
  return h("div", {class: "environment", "data-before": k},
    h("div", {class: "speaker"}, "environment"),
    h("details", {},
      h("summary", {}, ...(summary.length ? summary : [h("span", {class: "call"}, h("code", {}, before.trim()))])),
      ...calls.map((call) => h("pre", {dir: "auto"}, `${call.tool} ${call.arguments}\n${call.answer}`)),
      h("small", {}, "as the policy read it"), h("pre", {dir: "auto"}, before.replace(/^\n/, ""))));
}

/** A step's text, in which long arguments of its turn's calls are folded. */
function withCalls(t, step) {
  let rest = step.text;
  const parts = [];
  for (const call of step.turn === undefined ? [] : callsOf(t, step.turn)) {
    const place = call.arguments.length > LONG_ARGUMENTS ? rest.indexOf(call.arguments) : -1;
    if (place < 0) continue;
    parts.push(rest.slice(0, place), h("details", {class: "arguments"},
      h("summary", {}, `▸ arguments of ${call.tool}, ${figure(call.arguments.length)} characters`), call.arguments));
    rest = rest.slice(place + call.arguments.length);
  }
  return [...parts, rest];
}

/** A continuation's text with its speakers told apart. */
const spoken = (parts) => h("pre", {dir: "auto"}, ...parts.map((part) => h("span", {class: `by-${part.speaker}`}, part.text)));

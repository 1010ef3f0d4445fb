// The page: reads the controls, computes, and writes sentences, tables and charts. Settings stand in the address.
"use strict";
(() => {
  const at = id => document.getElementById(id);
  const {short} = CHART;
  const LARGEST = 64, TICKS = [2, 4, 8, 16, 32, 64];
  const RATES = Array.from({length: 10}, (_, i) => (2 * i + 1) / 20);
  const PRESETS = {
    "all alike": [0, 0, 0, 0, 4, 4, 0, 0, 0, 0], "even": Array(10).fill(3), "mostly hard": [8, 6, 4, 3, 2, 1, 1, 0, 0, 0],
    "mostly solved": [0, 0, 0, 1, 1, 2, 3, 4, 6, 8], "hard and solved": [8, 3, 1, 0, 0, 0, 0, 1, 3, 8],
  };
  const START = {
    nameA: "grpo", sizeA: "16", nameB: "grpo", sizeB: "2", kind: "many", rate: "0.3", bars: PRESETS["mostly hard"].join("."),
    answers: "8", alignment: "0.3", margin: "0", beta: "1", low: "0.2", high: "0.2", ratio: "0",
  };
  const SHOWN = {
    sizeA: v => v, sizeB: v => v, rate: v => short(+v), answers: v => v, alignment: v => short(+v), margin: v => short(+v),
    beta: v => short(+v), low: v => short(+v), high: v => short(+v), ratio: v => `${short(Math.exp(v))} times`,
  };
  const RANGES = Object.keys(SHOWN);
  let drawing = 0;

  function read() {
    const state = {kind: document.querySelector("[name=kind]:checked").value, bars: bars().map(bar => bar.value).join(".")};
    for (const id of [...RANGES, "nameA", "nameB"]) state[id] = at(id).value;
    return state;
  }

  // Put settings into the controls; what is unknown or out of range is left at its start.
  function write(state) {
    for (const id of RANGES) at(id).value = isFinite(state[id]) && state[id] !== "" ? state[id] : START[id];
    for (const id of ["nameA", "nameB"]) at(id).value = Object.hasOwn(FORMULAS.estimators, state[id]) ? state[id] : START[id];
    const counts = String(state.bars).split(".").map(Number);
    const good = counts.length === RATES.length && counts.every(c => Number.isInteger(c) && c >= 0 && c <= 8) && counts.some(c => c);
    bars().forEach((bar, i) => { bar.value = good ? counts[i] : START.bars.split(".")[i]; });
    document.querySelector(`[name=kind][value=${state.kind === "one" ? "one" : "many"}]`).checked = true;
  }

  const bars = () => [...document.querySelectorAll("#bars input")];

  function prompts(state) {
    if (state.kind === "one") return [{p: +state.rate, count: 1}];
    const counts = state.bars.split(".").map(Number);
    if (!counts.some(count => count)) return [{p: 0.5, count: 1}];
    return RATES.map((p, i) => ({p, count: counts[i]})).filter(prompt => prompt.count);
  }

  function named(name, G) {
    return `${FORMULAS.estimators[name].title}, G = ${G}`;
  }

  function table(place, head, rows) {
    place.replaceChildren();
    const line = (cells, tag) => {
      const row = document.createElement("tr");
      cells.forEach((cell, i) => {
        const entry = document.createElement(i ? tag : "th");
        entry.textContent = cell;
        if (!i) entry.scope = "row";
        row.append(entry);
      });
      place.append(row);
    };
    line(head, "th");
    rows.forEach(row => line(row, "td"));
  }

  function paragraphs(place, sentences) {
    place.replaceChildren(...sentences.map(text => Object.assign(document.createElement("p"), {textContent: text})));
  }

  function main(state) {
    const answers = +state.answers, list = prompts(state), alignment = state.kind === "one" ? 1 : +state.alignment;
    const sides = ["A", "B"].map(side => ({name: state[`name${side}`], G: +state[`size${side}`]}));
    const [a, b] = sides.map(({name, G}) => MODEL.figures(name, G, list, answers, alignment));
    const [bestA, bestB] = sides.map(({name}) => MODEL.best(name, list, answers, alignment, LARGEST));
    const star = MODEL.optimum(list, answers, alignment);
    const sentences = [];
    const [more, fewer] = a.perRollout >= b.perRollout ? ["A", "B"] : ["B", "A"];
    const times = Math.max(a.perRollout, b.perRollout) / Math.min(a.perRollout, b.perRollout);
    sentences.push(times < 1.005 ? "A and B need the same number of rollouts for the same signal-to-noise ratio."
      : `${fewer} needs ${short(times)} times the rollouts of ${more} for the same signal-to-noise ratio.`);
    const angle = one => one.cosine > 1 - 1e-9 ? "keeps the true direction" : `has a cosine of ${one.cosine.toFixed(4)} with the true gradient`;
    sentences.push(`The mean of A ${angle(a)}, that of B ${angle(b)}.`);
    sentences.push(isFinite(star) ? `At a fixed number of rollouts leave-one-out has its least variance at G* = ${short(star)}.`
      : "All prompts have one gradient, so for leave-one-out a larger group is never worse at a fixed number of rollouts.");
    paragraphs(at("sentences"), sentences);
    table(at("figures"), ["", ...sides.map(({name, G}, i) => `${"AB"[i]}: ${named(name, G)}`)], [
      ["bias factor", short(a.biasFactor), short(b.biasFactor)],
      ["cosine with ∇J", a.cosine.toFixed(4), b.cosine.toFixed(4)],
      ["relative tr Cov, one group", short(a.relative), short(b.relative)],
      ["SNR per rollout", short(a.perRollout), short(b.perRollout)],
      ["groups with two different rewards", `${(100 * a.mixed).toFixed(1)} %`, `${(100 * b.mixed).toFixed(1)} %`],
      [`best G for SNR per rollout, 2 to ${LARGEST}`, bestA, bestB],
    ]);
    const rates = Array.from({length: 99}, (_, i) => (i + 1) / 100);
    const weight = ({name, G}, p) => MODEL.group(name, G, p, MODEL.numbersOf(p, answers)).weight;
    const sizes = Array.from({length: LARGEST - 1}, (_, i) => i + 2);
    CHART.draw(at("weights"), {
      title: "Weight of a prompt against its success rate for A and B; the dotted line is an unbiased estimator's weight, 1", guide: 1,
      x: {low: 0, high: 1, ticks: [0, 0.25, 0.5, 0.75, 1], label: "success rate, p"}, marks: state.kind === "one" ? [list[0].p] : [],
      series: sides.map((side, i) => ({name: `${"AB"[i]}: ${named(side.name, side.G)}`, colour: i, points: rates.map(p => [p, weight(side, p)])})),
    });
    const all = name => sizes.map(G => [G, MODEL.figures(name, G, list, answers, alignment)]);
    const curves = sides.map(({name}) => all(name));
    CHART.draw(at("ratios"), {
      title: "Signal-to-noise ratio per rollout against group size for the estimators of A and B; dots are the sizes chosen",
      x: {low: 2, high: LARGEST, log: true, ticks: TICKS, label: "group size, G"}, marks: star > 2 && star < LARGEST ? [star] : [],
      series: sides.map(({name, G}, i) => ({
        name: sides[0].name === sides[1].name ? `A and B: ${FORMULAS.estimators[name].title}` : `${"AB"[i]}: ${FORMULAS.estimators[name].title}`,
        colour: i, unnamed: i === 1 && sides[0].name === sides[1].name, dots: [[G, [a, b][i].perRollout]],
        points: i && sides[0].name === sides[1].name ? [] : curves[i].map(([size, one]) => [size, one.perRollout]),
      })),
    });
    CHART.draw(at("mixed"), {
      title: "Share of groups with two different rewards against group size; dots are the sizes chosen",
      x: {low: 2, high: LARGEST, log: true, ticks: TICKS, label: "group size, G"},
      series: [
        {name: "any estimator", colour: 2, dash: 0, points: curves[0].map(([G, one]) => [G, one.mixed])},
        ...sides.map(({G}, i) => ({name: `${"AB"[i]}: G = ${G}`, colour: i, points: [], dots: [[G, [a, b][i].mixed]]})),
      ],
    });
  }

  function pair(state) {
    const [m, beta, low, high] = [state.margin, state.beta, state.low, state.high].map(Number);
    const here = MODEL.pair(m, beta, low, high);
    const gap = Math.abs(here.grpo[0] - here.dpo[0]);
    paragraphs(at("identity"), [
      `Right rollout: two-rollout GRPO ${short(here.grpo[0])}, CISPO ${short(here.cispo[0])}, DPO over β ${short(here.dpo[0])}. `
      + `Wrong rollout: ${short(here.grpo[1])}, ${short(here.cispo[1])}, ${short(here.dpo[1])}.`,
      gap < 1e-5 ? "GRPO and DPO are the same here, to GRPO's epsilon."
        : here.grpo[0] === 0 ? "The clip has stopped GRPO on the right rollout; DPO still moves it." : `GRPO and DPO differ by ${short(gap)} on the right rollout.`,
    ]);
    const margins = Array.from({length: 401}, (_, i) => (i - 200) / 100);
    const curve = name => margins.map(x => [x, MODEL.pair(x, beta, low, high)[name][0]]);
    CHART.draw(at("pair"), {
      title: "Weight of the right rollout's tokens against the margin, for two-rollout GRPO, DPO and CISPO", marks: [m],
      x: {low: -2, high: 2, ticks: [-2, -1, 0, 1, 2], label: "margin, m"},
      series: [["grpo", "GRPO, G = 2"], ["dpo", "DPO over β"], ["cispo", "CISPO, the same clip"]].map(
        ([name, title], i) => ({name: title, colour: i, points: curve(name), dots: [[m, here[name][0]]]})),
    });
  }

  function lengths(state) {
    const ratio = Math.exp(+state.ratio), rows = Object.keys(FORMULAS.lengths).map(name => [name, MODEL.lengths(name, 100, ratio)]);
    table(at("pulls"), ["", "a token of the right rollout", "of the wrong one", "the whole right rollout", "the whole wrong one"],
      rows.map(([name, one]) => [FORMULAS.lengths[name].title, ...[one.right, one.wrong, one.rightSum, one.wrongSum].map(short)]));
    const equal = Math.abs(ratio - 1) < 1e-9, longer = ratio > 1 ? "longer" : "shorter";
    paragraphs(at("pull"), [equal ? "At equal lengths they differ by one factor for all tokens, which is a learning rate."
      : `GRPO gives both rollouts the same pull, so a token of the ${longer} right rollout gets ${short(1 / ratio)} times the weight of one of the wrong rollout; `
        + `with DAPO and Dr. GRPO all tokens have one weight, and the right rollout as a whole gets ${short(ratio)} times the pull.`]);
  }

  function show() {
    drawing = 0;
    const state = read();
    for (const id of RANGES) {
      const text = SHOWN[id](at(id).value);
      document.querySelector(`output[for=${id}]`).value = text;
      at(id).setAttribute("aria-valuetext", text);
    }
    bars().forEach((bar, i) => bar.setAttribute("aria-valuetext", `${bar.value} prompts solved ${Math.round(100 * RATES[i])} % of the time`));
    at("single").hidden = state.kind !== "one";
    at("several").hidden = at("alignment").disabled = state.kind === "one";
    at("several").hidden = state.kind === "one";
    at("alignment").parentElement.hidden = state.kind === "one";
    main(state);
    pair(state);
    lengths(state);
    const changed = Object.entries(state).filter(([name, value]) => value !== START[name]);
    history.replaceState(null, "", changed.length ? `#${new URLSearchParams(changed)}` : location.pathname + location.search);
  }

  const soon = () => { drawing = drawing || requestAnimationFrame(show); };

  function build() {
    for (const id of ["nameA", "nameB"])
      for (const [name, {title}] of Object.entries(FORMULAS.estimators)) at(id).append(new Option(title, name));
    RATES.forEach(p => {
      const bar = Object.assign(document.createElement("input"), {type: "range", min: 0, max: 8, step: 1});
      bar.setAttribute("aria-label", `prompts solved ${Math.round(100 * p)} % of the time`);
      bar.setAttribute("aria-orientation", "vertical");
      const column = document.createElement("div");
      column.append(bar, Object.assign(document.createElement("span"), {textContent: short(p)}));
      at("bars").append(column);
    });
    for (const [name, counts] of Object.entries(PRESETS)) {
      const button = Object.assign(document.createElement("button"), {type: "button", textContent: name});
      button.addEventListener("click", () => { bars().forEach((bar, i) => { bar.value = counts[i]; }); soon(); });
      at("presets").append(button);
    }
    const given = location.hash.includes("=") ? Object.fromEntries(new URLSearchParams(location.hash.slice(1))) : {};
    write({...START, ...given});
    at("explorer").addEventListener("input", soon);
    at("reset").addEventListener("click", () => { write(START); soon(); });
    new ResizeObserver(soon).observe(at("explorer"));
    show();
  }

  build();
})();

// The interactive parts of report.html. Everything it prints is rendered data; it filters, looks up, and divides by
// the request rate. Vega-Lite draws.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const colour = (name) => `var(${name})`; // so that charts follow the colour scheme, and print
  const number = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
  const task = (key) => data.tasks.find((one) => one.key === key);
  const SERIES = 12, SHAPES = ["circle", "square", "triangle-up", "diamond", "cross"];
  const series = (index) => colour(`--series-${(index % SERIES) + 1}`);

  // --- Folding: a link opens what it leads to; a claim copies its table and figure when it is opened.
  function reveal(target) {
    for (let one = target; one; one = one.parentElement) if (one.tagName === "DETAILS") one.open = true;
    if (target) target.scrollIntoView();
  }
  function fill(claim) {
    for (const place of all("[data-copy]", claim)) {
      const source = $(place.dataset.copy);
      if (!source || place.childElementCount) continue;
      const copy = source.cloneNode(true);
      copy.removeAttribute("id");
      all("[id]", copy).forEach((one) => one.removeAttribute("id"));
      const named = all("[aria-label]", copy), of = claim.querySelector("b").textContent;
      named.forEach((one) => one.setAttribute("aria-label", `${one.getAttribute("aria-label")}, in claim ${of}`));
      place.append(copy);
    }
  }
  all("details.claim").forEach((one) => one.addEventListener("toggle", () => one.open && fill(one)));
  const follow = () => location.hash && reveal($(decodeURIComponent(location.hash.slice(1))));
  addEventListener("hashchange", follow);

  const printed = []; // every claim is printed open, without its table and figure
  addEventListener("beforeprint", () => {
    for (const one of all("details.claim:not([open])")) { one.open = true; printed.push(one); }
  });
  addEventListener("afterprint", () => printed.splice(0).forEach((one) => { one.open = false; }));

  const links = new Map(all(".contents a").map((one) => [one.hash.slice(1), one]));
  const watch = new IntersectionObserver((entries) => entries.forEach((entry) => {
    if (!entry.isIntersecting) return;
    links.forEach((link) => link.removeAttribute("aria-current"));
    links.get(entry.target.id)?.setAttribute("aria-current", "true");
  }), { rootMargin: "-10% 0px -80% 0px" });
  all("main section[id]").forEach((one) => watch.observe(one));

  // --- The decision aid: the first step whose floor is not below the one asked for.
  const say = (name, text) => all(`[data-say="${name}"]`).forEach((one) => { one.textContent = text; });
  function decide() {
    const own = task($("aid-task").value), size = $("aid-size").value, result = $("aid-result");
    const floor = $("aid-floor").valueAsNumber, rate = $("aid-rate").valueAsNumber;
    const best = own.aid[size][own.aid[size].length - 1];
    let problem = "";
    if (!(floor >= 0 && floor <= 1)) problem = result.dataset.floorProblem;
    else if (!(rate > 0)) problem = result.dataset.rateProblem;
    else if (floor > best.upto) problem = `${result.dataset.unreached} ${best.choice.name} (${best.choice.accuracy}).`;
    $("aid-problem").textContent = problem;
    $("aid-problem").hidden = !problem;
    result.hidden = Boolean(problem);
    for (const name of ["name", "runnerUp", "days", "forecasts", "saving"]) delete result.dataset[name];
    if (problem) return;
    const step = own.aid[size].find((one) => floor <= one.upto);
    const days = (offer) => offer.forecasts === null ? null : offer.forecasts / rate / data.seconds_per_day;
    const paid = (offer) => offer.forecasts > 0
      ? `${offer.forecasts_text}: ${number.format(days(offer))} days at this rate` : offer.forecasts_text;
    for (const [role, offer] of [["choice", step.choice], ["other", step.runner_up]]) {
      if (!offer) continue;
      say(`${role}-name`, offer.name);
      say(`${role}-accuracy`, `${offer.accuracy} on validation windows, ${offer.test} on test windows`);
      say(`${role}-cpu`, offer.cpu);
      say(`${role}-saving`, offer.saving);
      say(`${role}-over`, offer.over_uncompressed);
      say(`${role}-paid`, paid(offer));
    }
    say("load", `${step.choice.bound}${number.format(rate * step.choice.cpu_ms / 1000)} cores; the eager baseline: ` +
      `${number.format(rate * own.baseline_ms[size] / 1000)}`);
    $("aid-other").hidden = !step.runner_up;
    $("aid-alone").hidden = Boolean(step.runner_up);
    $("aid-noise").hidden = !step.within_noise;
    $("aid-misses").hidden = !(step.choice.test_accuracy < floor);
    Object.assign(result.dataset, {
      name: step.choice.name, runnerUp: step.runner_up ? step.runner_up.name : "", days: days(step.choice) ?? "",
      forecasts: step.choice.forecasts ?? "", saving: step.choice.saving,
    });
    const command = ["make recommend", `TASK=${own.key}`, `FLOOR=${floor}`, `RATE=${rate}`, `BATCH=${size}`];
    $("aid-command").textContent = command.join(" ");
  }
  function sizesOf(select, own) {
    const before = select.value;
    select.replaceChildren(...own.sizes.map((size) => new Option(`${size} per call`, size)));
    if (own.sizes.map(String).includes(before)) select.value = before;
  }
  $("aid-task").addEventListener("change", () => {
    const own = task($("aid-task").value);
    sizesOf($("aid-size"), own);
    $("aid-floor").value = own.floor;
    decide();
  });
  $("aid").addEventListener("input", decide);
  $("aid").addEventListener("submit", (event) => event.preventDefault());

  // --- Charts
  const tip = $("tip");
  function tooltip(handler, event, item, value) {
    if (value === null || value === undefined || value === "") { tip.hidden = true; return; }
    tip.textContent = Object.entries(value).map(([name, text]) => `${name}: ${text}`).join("\n");
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 12, innerWidth - box.width - 4))}px`;
    tip.style.top = `${Math.max(4, Math.min(event.clientY + 12, innerHeight - box.height - 4))}px`;
  }
  const config = () => ({
    background: null, font: "system-ui, sans-serif", view: { stroke: colour("--line") },
    axis: { labelColor: colour("--ink"), titleColor: colour("--ink"), gridColor: colour("--line"), gridOpacity: 0.6,
      domainColor: colour("--quiet"), tickColor: colour("--quiet"), labelFontSize: 12, titleFontSize: 12,
      titleFontWeight: "normal" },
  });
  const views = new Map();
  function draw(id, spec) {
    views.get(id)?.finalize();
    const compiled = vegaLite.compile({ width: "container", height: 340, autosize: { type: "fit", contains: "padding" },
      config: config(), ...spec }).spec;
    const view = new vega.View(vega.parse(compiled), { renderer: "svg", container: $(id), hover: true });
    views.set(id, view.tooltip(tooltip));
    return view.runAsync().then(() => { // the figure's own text describes it
      all("svg", $(id)).forEach((one) => one.setAttribute("aria-hidden", "true"));
    });
  }
  const box = (name, value, checked, mark, dashed, tint) => {
    const label = document.createElement("label"), input = document.createElement("input");
    const swatch = document.createElement("span");
    Object.assign(input, { type: "checkbox", name, value, checked });
    swatch.className = `swatch ${mark}${dashed ? " dashed" : ""}`;
    swatch.style.color = tint;
    label.append(input, ...(mark ? [swatch] : []), value);
    return label;
  };
  const boxes = (id, labels) => $(id).replaceChildren($(id).querySelector("legend"), ...labels);
  const checked = (id) => all("input:checked", $(id)).map((one) => one.value);
  const distinct = (values) => [...new Set(values)];
  const runtimes = () => distinct(data.tasks.flatMap((one) => one.candidates.map((c) => c.runtime)));
  const precisions = () => distinct(data.tasks.flatMap((one) => one.candidates.map((c) => c.precision)));
  const GLYPHS = { circle: "●", square: "■", "triangle-up": "▲", diamond: "◆", cross: "✚" };

  function front(points) { // the cheapest first; each is more accurate than the one before
    const kept = [];
    for (const one of [...points].sort((a, b) => a.ms - b.ms || b.accuracy - a.accuracy))
      if (!kept.length || one.accuracy > kept[kept.length - 1].accuracy) kept.push(one);
    return kept;
  }
  function space() {
    const own = task($("space-task").value), size = $("space-size").value;
    const [kept, allowed] = [checked("space-runtimes"), checked("space-precisions")];
    const everything = own.candidates.map((one) => ({ ...one, ms: one.ms[size] }));
    const points = everything.filter((one) => kept.includes(one.runtime) && allowed.includes(one.precision));
    const networks = everything.filter((one) => one.precision !== "none").map((one) => one.accuracy);
    const floor = Math.min(...networks), top = Math.max(...everything.map((one) => one.accuracy));
    const pad = (top - floor) / 12, shown = points.filter((one) => one.accuracy >= floor);
    const below = points.filter((one) => one.accuracy < floor);
    const edge = front(shown), inner = front(shown.filter((one) => one.precision !== "none"));
    const most = Math.max(...shown.map((one) => one.ms));
    const drawn = (line) => line.length ? [...line, { ...line[line.length - 1], ms: most }] : [];
    $("space-count").textContent = `${points.length} of ${everything.length} candidates shown, ${edge.length} on the front.` +
      (below.length ? ` Below the axis: ${below.map((one) => `${one.role} (${one.accuracy})`).join(", ")}.` : "");
    const x = { field: "ms", type: "quantitative", scale: { type: "log", nice: false, padding: 12 },
      title: `CPU time, ms per forecast, batch ${size}`, axis: { format: "~g", tickCount: 5 } };
    const y = { field: "accuracy", type: "quantitative", title: "validation accuracy",
      scale: { zero: false, domain: [floor - pad, top + pad], nice: false }, axis: { format: ".2f" } };
    const hint = [
      { field: "name", title: "candidate" }, { field: "runtime" }, { field: "precision" },
      { field: "accuracy", title: "validation accuracy" }, { field: "test", title: "test accuracy" },
      { field: "ms", title: "CPU ms per forecast" },
    ];
    const marked = shown.filter((one) => one.role);
    return draw("space-chart", {
      layer: [
        { data: { values: drawn(inner) }, encoding: { x, y }, mark: { type: "line", interpolate: "step-after",
          color: colour("--quiet"), strokeWidth: 1.5, strokeDash: [4, 3], tooltip: null } },
        { data: { values: drawn(edge) }, encoding: { x, y }, mark: { type: "line", interpolate: "step-after",
          color: colour("--ink"), strokeWidth: 1.5, tooltip: null } },
        { data: { values: shown }, mark: { type: "point", filled: true, size: 52, opacity: 0.75 },
          encoding: { x, y, tooltip: hint,
            color: { field: "runtime", type: "nominal", legend: null,
              scale: { domain: runtimes(), range: runtimes().map((_, index) => series(index)) } },
            shape: { field: "precision", type: "nominal", legend: null,
              scale: { domain: precisions(), range: precisions().map((_, index) => SHAPES[index % SHAPES.length]) } } } },
        { data: { values: marked }, mark: { type: "point", size: 150, color: colour("--ink"), strokeWidth: 1.6, tooltip: null },
          encoding: { x, y } },
        { data: { values: marked },
          mark: { type: "text", dy: -13, fontSize: 12, color: colour("--ink"), limit: 220,
            align: { expr: "datum.ms > domain('x')[0] * 30 ? 'right' : 'left'" } },
          encoding: { x, y, text: { field: "role" } } },
      ],
    });
  }
  const RL = "a policy";
  function regret() {
    const own = task($("regret-task").value).regret, kept = checked("regret-searchers");
    const names = own.searchers.map((one) => one.name);
    const searchers = own.searchers.filter((one) => kept.includes(one.name));
    const points = searchers.flatMap((one) => one.curve.map(([evaluation, mean, low, high]) => ({
      searcher: one.name, learns: one.learns ? RL : "nothing", seeds: one.seeds, evaluation, mean, low, high })));
    $("regret-count").textContent = `${searchers.length} of ${names.length} searchers shown.`;
    const positive = own.searchers.flatMap((one) => one.curve.map((values) => values[1])).filter((mean) => mean > 0);
    const least = Math.min(...positive), most = Math.max(...own.searchers.flatMap((one) => one.curve.map((c) => c[3])));
    const drawn = points.filter((one) => one.mean > 0).map((one) => ({ ...one, low: Math.max(one.low, least) }));
    const last = Math.max(...own.budgets);
    const x = { field: "evaluation", type: "quantitative", title: "distinct evaluations",
      scale: { type: "log", domain: [1, last], nice: false }, axis: { values: [1, ...own.budgets], grid: true, format: "d" } };
    const scale = { type: "log", domain: [least, most], nice: false, clamp: true };
    const y = { field: "mean", type: "quantitative", title: "mean regret, nats", scale, axis: { format: "~g", tickCount: 5 } };
    const tint = { field: "searcher", type: "nominal", legend: null,
      scale: { domain: names, range: names.map((_, index) => series(index)) } };
    const dash = { field: "learns", type: "nominal", legend: null, scale: { domain: [RL, "nothing"], range: [[1, 0], [5, 3]] } };
    const hint = [{ field: "searcher" }, { field: "evaluation", title: "distinct evaluations" },
      { field: "mean", title: "mean regret" }, { field: "low", title: "interval from" }, { field: "high", title: "to" },
      { field: "seeds" }, { field: "learns", title: "it learns" }];
    return draw("regret-chart", {
      data: { values: drawn },
      layer: [
        { mark: { type: "area", opacity: 0.13, interpolate: "step-after", tooltip: null },
          encoding: { x, y: { field: "low", type: "quantitative", scale, title: y.title }, y2: { field: "high" }, color: tint } },
        { mark: { type: "line", interpolate: "step-after", strokeWidth: 1.8 }, encoding: { x, y, color: tint, strokeDash: dash } },
        { params: [{ name: "near", select: { type: "point", on: "pointerover", nearest: true, clear: "pointerout" } }],
          mark: { type: "point", filled: true, size: 70 },
          encoding: { x, y, color: tint, tooltip: hint, opacity: { condition: { param: "near", empty: false, value: 1 }, value: 0 } } },
      ],
    });
  }

  const hidden = new Set(data.tasks.flatMap((one) => one.regret.searchers)
    .filter((one) => one.group !== "ranked").map((one) => one.name));
  function listSearchers() {
    boxes("regret-searchers", task($("regret-task").value).regret.searchers.map((one, index) =>
      box("searcher", one.name, !hidden.has(one.name), "line", !one.learns, series(index))));
  }
  function listTargets() {
    boxes("space-runtimes", runtimes().map((one, index) => box("runtime", one, true, "dot", false, series(index))));
    boxes("space-precisions", precisions().map((one, index) => {
      const label = box("precision", one, true, "", false, "");
      label.lastChild.textContent = `${GLYPHS[SHAPES[index % SHAPES.length]]} ${one === "none" ? "no network" : one}`;
      return label;
    }));
  }
  $("space").addEventListener("input", (event) => {
    if (event.target.id === "space-task") sizesOf($("space-size"), task(event.target.value));
    space();
  });
  $("regret").addEventListener("input", (event) => {
    const { id, type, value } = event.target;
    if (id === "regret-task") listSearchers();
    if (type === "checkbox") hidden[event.target.checked ? "delete" : "add"](value);
    regret();
  });
  for (const id of ["space", "regret"]) $(id).addEventListener("submit", (event) => event.preventDefault());
  for (const id of ["aid-task", "space-task", "regret-task"])
    $(id).replaceChildren(...data.tasks.map((one) => new Option(one.title, one.key)));
  for (const id of ["aid-size", "space-size"]) sizesOf($(id), data.tasks[0]);
  $("aid-floor").value = data.tasks[0].floor;
  $("aid-rate").value = data.rate_per_s;
  document.body.classList.remove("no-script");
  listTargets();
  listSearchers();
  decide();
  space();
  regret();
  follow();
})();

// Draws every figure from the table beside it: at once those in view, the others when they come near or nothing else is to do.
"use strict";
const specs = JSON.parse(document.getElementById("figures").textContent);
const options = {mode: "vega", renderer: "svg", actions: false, logLevel: 1, tooltip: {disableDefaultStyle: true}};
const waiting = new Set(document.querySelectorAll("figure[data-kind]"));
const state = document.documentElement.dataset;

function rowsOf(figure) {
  const heads = [...figure.querySelectorAll("thead th")];
  const most = Number(figure.dataset.most);
  return [...figure.querySelector("tbody").rows].slice(0, most).map((line) => {
    const row = {}, said = [];
    heads.forEach((head, place) => {
      const cell = line.cells[place], words = cell.textContent, exact = cell.dataset.v;
      const value = exact ?? words;
      row[head.dataset.field] = head.classList.contains("n") ? (value === "" || value === undefined ? null : Number(value)) : value;
      if (!head.hidden && words && said.length < 8) said.push(`${head.textContent}: ${words}`);
    });
    row.tip = said.join("\n");
    return row;
  });
}

// The tuned sizes of an operation lie beside one another on its line, small ones on top.
function placed(rows) {
  const tuned = Map.groupBy(rows.filter((row) => row.status === "tuned"), (row) => row.label);
  for (const row of rows) {
    const beside = tuned.get(row.label) ?? [], place = beside.indexOf(row);
    row.place = place < 0 ? 0 : (place - (beside.length - 1) / 2) * Math.min(0.35, 1.5 / beside.length);
  }
  return rows;
}

async function draw(figure) {
  if (!waiting.delete(figure)) return;
  sight.unobserve(figure);
  const kind = figure.dataset.kind, rows = rowsOf(figure), spec = specs[kind];
  const data = spec.data.map((set) => set.name === "rows" ? {name: "rows", values: kind === "gain" ? placed(rows) : rows} : set);
  const drawn = await vegaEmbed(figure.querySelector(".plot"), {...spec, data}, options);
  figure.view = drawn.view;
}

const sight = new IntersectionObserver(
  (seen) => seen.filter((one) => one.isIntersecting).forEach((one) => draw(one.target)), {rootMargin: "300px"});

// A moment in which nothing else is to do; it tells how much of itself is left.
const idle = () => new Promise((next) =>
  window.requestIdleCallback ? requestIdleCallback(next, {timeout: 200}) : setTimeout(() => next({timeRemaining: () => 0}), 1));

async function drawAll() {
  await Promise.all([...waiting].filter((figure) => figure.getBoundingClientRect().top < innerHeight).map(draw));
  state.seen = Math.round(performance.now());
  waiting.forEach((figure) => sight.observe(figure));
  let spare = await idle();
  for (const figure of [...waiting]) {
    await draw(figure);
    if (spare.timeRemaining() < 5) spare = await idle();
  }
  state.drawn = Math.round(performance.now());
}

// Promises alone stand between a figure and its drawing, so all are there before paper is.
addEventListener("beforeprint", () => waiting.forEach(draw));
drawAll();

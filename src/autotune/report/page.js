// Draws every figure from the table below it: at once those in view, the others when they come near or nothing else is to do.
"use strict";
const specs = JSON.parse(document.getElementById("figures").textContent);
const tip = document.body.appendChild(Object.assign(document.createElement("div"), {id: "tip"}));

function showTip(_, event, item, text) {
  tip.classList.toggle("visible", Boolean(text));
  if (!text) return;
  tip.textContent = text;
  tip.style.left = `${Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 8)}px`;
  tip.style.top = `${Math.min(event.clientY + 12, innerHeight - tip.offsetHeight - 8)}px`;
}

const figures = [...document.querySelectorAll("figure[data-kind]")];
const waiting = new Set(figures);
const state = document.documentElement.dataset;

function rowsOf(figure) {
  const heads = [...figure.querySelectorAll("thead th")].map((head) => ({
    field: head.dataset.field, number: head.classList.contains("n"), title: head.hidden ? "" : head.textContent}));
  const rows = [];
  let line = figure.querySelector("tbody").firstElementChild;
  for (let left = Number(figure.dataset.most); line && left; line = line.nextElementSibling, left--) {
    const row = {}, said = [];
    let cell = line.firstElementChild;
    for (const {field, number, title} of heads) {
      const words = cell.textContent, value = cell.dataset.v ?? words;
      row[field] = !number ? value : value === "" ? null : Number(value);
      if (title && words && said.length < 8) said.push(`${title}: ${words}`);
      cell = cell.nextElementSibling;
    }
    row.tip = said.join("\n");
    rows.push(row);
  }
  return rows;
}

// The tuned sizes of an operation lie next to one another on its line, small ones on top.
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
  const kind = figure.dataset.kind, rows = rowsOf(figure);
  const values = kind === "gain" ? placed(rows) : rows, spec = specs[kind];
  const data = spec.data.map((set) => set.name === "rows" ? {name: "rows", values} : set);
  const fitted = figure.wide ? {...spec, data, width: figure.wide} : {...spec, data};
  const container = figure.querySelector(".plot");
  const options = {mode: "vega", renderer: "svg", actions: false, hover: false, tooltip: showTip, logLevel: 1};
  figure.view = (await vegaEmbed(container, fitted, options)).view;
}

// The width of every column, asked for before anything is drawn: to answer in between, the page would be laid out each time.
const onScreen = (figure) => figure.querySelector(".plot").clientWidth;
// A sheet of A4 or Letter has room for 660 pixels between its margins.
const onPaper = (figure) => figure.closest(".grid") ? 320 : 660;

function fit(width) {
  for (const figure of figures) figure.wide = figure.classList.contains("fixed") ? 0 : width(figure);
  for (const {view, wide} of figures) if (view && wide && view.width() !== wide) view.width(wide).runAsync();
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

fit(onScreen);
addEventListener("resize", () => fit(onScreen));
// Promises alone stand between a figure and its drawing, so all are there before paper is.
addEventListener("beforeprint", () => { fit(onPaper); waiting.forEach(draw); });
addEventListener("afterprint", () => fit(onScreen));
drawAll();

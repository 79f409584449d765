"use strict";

const charts = JSON.parse(document.getElementById("data").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const hidden = new Set();

function themed(layout) {
  const style = getComputedStyle(document.documentElement);
  const [ink, line] = ["--ink", "--line"].map((name) => style.getPropertyValue(name).trim());
  const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true };
  const result = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink, size: 13 }, showlegend: false,
    margin: { l: 55, r: 15, t: 10, b: 45 }, hovermode: "closest", hoverlabel: { namelength: -1 }, ...layout,
  };
  for (const name of ["xaxis", "yaxis"]) result[name] = { ...axis, ...layout[name] };
  return result;
}

function visible(trace) {
  return { ...trace, visible: !hidden.has(trace.meta) };
}

function draw() {
  for (const [name, chart] of Object.entries(charts)) {
    Plotly.react(name, chart.traces.map(visible), themed(chart.layout), { responsive: true, displaylogo: false });
  }
}

for (const box of document.querySelectorAll(".toggle input")) {
  box.addEventListener("change", () => {
    if (box.checked) hidden.delete(box.dataset.label);
    else hidden.add(box.dataset.label);
    draw();
  });
}

function compare(first, second) {
  if (first === "" || second === "") return (first === "") - (second === "");
  const difference = Number(first) - Number(second);
  return Number.isNaN(difference) ? first.localeCompare(second) : difference;
}

function sort(heading) {
  const direction = heading.ariaSort === "descending" ? "ascending" : heading.ariaSort === "ascending" ? "descending"
    : heading.classList.contains("number") ? "descending" : "ascending";
  for (const other of heading.parentNode.children) other.ariaSort = "none";
  heading.ariaSort = direction;
  const value = (row) => row.children[heading.cellIndex].dataset.value;
  const body = heading.closest("table").tBodies[0];
  const rows = [...body.rows].sort((a, b) => {
    const [first, second] = [value(a), value(b)];
    // What has no value stays at the end in both directions.
    if (first === "" || second === "") return compare(first, second);
    return direction === "ascending" ? compare(first, second) : compare(second, first);
  });
  body.append(...rows);
}

for (const heading of document.querySelectorAll("th")) {
  heading.querySelector("button").addEventListener("click", () => sort(heading));
}

dark.addEventListener("change", draw);
draw();

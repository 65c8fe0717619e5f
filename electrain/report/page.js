// Draws the plots from the data in the page; keeps what the reader chose in the address, so that it outlives a reload.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const controls = document.getElementById("controls") || document.createElement("form");
  const chosen = new URLSearchParams(location.hash.slice(1));
  const hidden = new Set((chosen.get("hide") || "").split(",").filter(Boolean).map(Number));
  const hovers = matchMedia("(hover: hover)").matches; // a finger on a plot scrolls the page and does not zoom
  const plain = (words) => words.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;"); // plotly reads tags
  const forms = {share: ".1%", count: ",.4~s", number: ".4~g"};
  const titles = {
    steps: "steps", tokens: "tokens", operations: "training operations", hours: "hours of training",
  };

  let axis = chosen.get("x");
  let radio = controls.querySelector(`input[name=x][value="${CSS.escape(axis || "")}"]:not(:disabled)`);
  radio = radio || controls.querySelector("input[name=x]:checked");
  if (radio) { radio.checked = true; axis = radio.value; } else { axis = "steps"; }

  function between(steps, values, step) { // two that are known it goes evenly
    let low = 0, high = steps.length - 1;
    if (high < 1) return null;
    while (high - low > 1) { const mid = (low + high) >> 1; if (steps[mid] <= step) low = mid; else high = mid; }
    const share = (step - steps[low]) / (steps[high] - steps[low]);
    return values[low] + Math.min(share, 1) * (values[high] - values[low]);
  }

  function place(run, step) {
    if (axis === "steps") return step;
    if (axis === "hours") {
      const [before, steps, hours] = run.hours, own = between(steps, hours, step);
      return own === null ? null : before + own;
    }
    const line = run[axis], whole = run.grown ? between(...run.grown, step) : step;
    return line === null ? null : line[0] + line[1] * whole;
  }

  function traces(plot) {
    if (plot.traces) return plot.traces; // drawn as it stands
    const found = [];
    for (const number of plot.runs) {
      const run = data.runs[number];
      if (hidden.has(number)) continue;
      for (const line of plot.lines) {
        const look = line.label ? line : run;
        const name = plain([data.runs.length > 1 ? run.name : "", line.label].filter(Boolean).join(", "));
        for (const kind of ["train", "eval"]) {
          const series = run[kind][line.metric];
          if (!series || (line.thin && kind === "eval")) continue;
          const few = kind === "eval" || series[0].length === 1;
          const what = kind === "eval" ? "held out" : line.thin ? "yardstick" : "training";
          found.push({
            x: series[0].map((step) => place(run, step)), y: series[1], type: "scatter",
            mode: kind === "train" ? (few ? "markers" : "lines") : "lines+markers",
            line: {
              color: look.colour, width: line.thin ? 1 : kind === "eval" ? 0.75 : 1.75,
              dash: line.thin ? "dot" : kind === "eval" ? "solid" : look.dash,
            },
            marker: {color: look.colour, symbol: look.symbol, size: kind === "eval" ? 7 : 5},
            opacity: line.thin ? 0.75 : 1,
            hovertemplate: `${name ? name + ", " : ""}${what}: %{y:${forms[plot.form]}}<extra></extra>`,
            customdata: series[0],
          });
        }
      }
    }
    return found;
  }

  function layout(plot) {
    const marks = [];
    for (const number of plot.runs || []) {
      if (hidden.has(number)) continue;
      for (const step of data.runs[number].bad) {
        const x = place(data.runs[number], step);
        if (x !== null) marks.push({
          type: "line", x0: x, x1: x, yref: "paper", y0: 0, y1: 1,
          line: {color: data.runs[number].colour, width: 1, dash: "dot"},
        });
      }
    }
    const common = {
      height: 250, margin: {l: 52, r: 12, t: 8, b: 40}, showlegend: false, uirevision: axis,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", shapes: marks,
      font: {family: "system-ui, sans-serif", size: 12}, hovermode: "x unified",
      hoverlabel: {font: {size: 12}}, dragmode: hovers ? "zoom" : false,
      xaxis: {
        title: {text: titles[axis], standoff: 6}, zeroline: false, exponentformat: "SI",
        tickformat: axis === "operations" ? ".2~e" : "", hoverformat: axis === "steps" ? ",d" : ".4~s", nticks: 6,
      },
      yaxis: {
        tickformat: plot.form === "share" ? "~%" : plot.form === "count" ? "~s" : "", automargin: true, nticks: 6, rangemode: plot.group === "machine" ? "tozero" : "normal",
        zeroline: false, exponentformat: "e",
      },
    };
    const own = plot.layout || {};
    return {...common, ...own, xaxis: {...common.xaxis, ...own.xaxis}, yaxis: {...common.yaxis, ...own.yaxis}};
  }

  const config = {
    responsive: true, displaylogo: false, showSendToCloud: false, displayModeBar: hovers ? "hover" : false,
    modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]], // named: one of the others would upload the plot
  };
  const places = [...document.querySelectorAll("[data-plot]")];

  function draw() {
    for (const div of places) {
      const plot = data.panels[Number(div.dataset.plot)];
      const lines = traces(plot);
      div.closest("figure").hidden = lines.length === 0;
      if (lines.length) Plotly.react(div, lines, layout(plot), config);
    }
  }

  function scalable(div) { // on paper the style sheet scales the drawing to the column
    for (const svg of div.querySelectorAll("svg.main-svg"))
      svg.setAttribute("viewBox", `0 0 ${svg.getAttribute("width")} ${svg.getAttribute("height")}`);
  }

  function remember(y) {
    const now = new URLSearchParams();
    now.set("x", axis);
    if (hidden.size) now.set("hide", [...hidden].join(","));
    if (y) now.set("y", String(Math.round(y)));
    history.replaceState(null, "", "#" + now.toString());
  }

  controls.addEventListener("change", (event) => {
    const input = event.target;
    if (input.name === "x") axis = input.value;
    const changed = input.name === "all" ? boxes : input.name === "run" ? [input] : [];
    for (const box of changed) { if (input.checked) hidden.delete(Number(box.value)); else hidden.add(Number(box.value)); }
    tick();
    remember(0);
    draw();
  });
  const boxes = [...controls.querySelectorAll("input[name=run]")], all = controls.querySelector("input[name=all]");
  function tick() {
    for (const box of boxes) box.checked = !hidden.has(Number(box.value));
    if (all) { all.checked = hidden.size < boxes.length; all.indeterminate = all.checked && hidden.size > 0; }
  }
  tick();

  draw();
  for (const div of places) {
    if (div.on) { div.on("plotly_afterplot", () => scalable(div)); scalable(div); }
  }
  const told = document.body.appendChild(document.createElement("output"));
  told.id = "told"; // what a pointer that cannot rest on a token would not see
  document.addEventListener("click", (event) => {
    const about = event.target.closest("main [title]");
    told.textContent = about ? about.title : "";
  });
  document.documentElement.dataset.drawn = axis; // for who waits for the plots

  if (data.reload) {
    history.scrollRestoration = "manual";
    window.scrollTo(0, Number(chosen.get("y") || 0));
    const again = () => {
      if (document.hidden) { setTimeout(again, 1000); return; } // nobody looks
      remember(window.scrollY);
      location.reload();
    };
    setTimeout(again, 1000 * data.reload);
  }
})();

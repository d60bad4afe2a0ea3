"use strict";
// Unpack the library, draw every chart in the colours of the reader's theme, and let the legend hide a setting in all charts.
(() => {
  // The colours of Okabe and Ito, which colour-blind readers can distinguish; darker on light, lighter on dark.
  const PALETTES = {
    light: ["#0072b2", "#d55e00", "#009e73", "#b8528f", "#b07d00", "#2b8fc7", "#555555", "#7b3fb5"],
    dark: ["#4ea8e0", "#ff8f45", "#2fcf9f", "#e59cc6", "#f0bb3f", "#8fd3ff", "#c8c8c8", "#c39bff"],
  };
  const DASHES = ["solid", "dash", "dot", "dashdot"];
  // With the dash "auto", lines of neighbouring series differ in dash and marker, too: they are told apart without colours.
  const SYMBOLS = ["circle", "square", "triangle-up", "diamond", "triangle-down", "x", "cross"];
  const SHAPES = { circle: "M14 1.5a2.5 2.5 0 1 0 .01 0Z", square: "M11.5 1.5h5v5h-5Z", "triangle-up": "M14 1l3 5.5h-6Z",
    diamond: "M14 .5L17.5 4 14 7.5 10.5 4Z", "triangle-down": "M14 7l3-5.5h-6Z", x: "M11.5 2.5l1-1L14 3l1.5-1.5 1 1L15 4l1.5 1.5-1 1L14 5l-1.5 1.5-1-1L13 4Z",
    cross: "M13.2 1h1.6v2.2H17v1.6h-2.2V7h-1.6V4.8H11V3.2h2.2Z" };
  const STROKES = { solid: "", dash: "6 3", dot: "2 3", dashdot: "6 3 2 3" };
  const charts = JSON.parse(document.getElementById("values").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const hidden = new Set();
  const logx = document.getElementById("logx");

  const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const palette = () => PALETTES[dark.matches ? "dark" : "light"];
  const color = series => (series < 0 ? style("--line") : palette()[series % palette().length]);
  const symbolOf = series => SYMBOLS[Math.max(series, 0) % SYMBOLS.length];
  const dashOf = part => {
    if (part.series < 0) return part.dash === "auto" ? "solid" : part.dash;
    if (part.dash === "auto") return DASHES[part.series % DASHES.length];
    return part.dash === "solid" ? DASHES[Math.floor(part.series / palette().length) % DASHES.length] : part.dash;
  };

  const trace = part => {
    const shown = { name: part.name, visible: hidden.has(part.name) ? "legendonly" : true };
    if (part.labels) {
      const interval = part.low.length ? { error_x: { type: "data", symmetric: false, color: style("--ink"), thickness: 1.5,
        array: part.high.map((high, i) => high - part.values[i]), arrayminus: part.low.map((low, i) => part.values[i] - low) } } : {};
      return { ...shown, ...interval, type: "bar", orientation: "h", y: part.labels, x: part.values, marker: { color: color(part.series) },
        hovertemplate: "%{y}: %{x:.4g}<extra>%{fullData.name}</extra>" };
    }
    const auto = part.dash === "auto" && part.series >= 0;
    const few = auto || (part.x.length <= 40 && part.series >= 0);
    const cross = part.mode === "markers" && part.series >= 0;  // a failure; what is none is grey and round
    const drawn = { ...shown, type: "scatter", x: part.x, y: part.y, mode: part.mode === "lines" && few ? "lines+markers" : part.mode,
      line: { color: color(part.series), width: part.series < 0 ? 1 : 2, dash: dashOf(part) },
      marker: { color: cross ? style("--bad") : color(part.series), size: part.mode === "markers" ? 10 : auto ? 6 : 4,
        symbol: part.mode === "markers" ? (cross ? "x" : "circle-open") : auto ? symbolOf(part.series) : "circle", maxdisplayed: auto ? 12 : 0 } };
    if (part.series < 0 && !part.texts.length) drawn.hoverinfo = "skip";
    if (part.texts.length) Object.assign(drawn, { text: part.texts, hovertemplate: "%{text}<extra></extra>" });
    else drawn.hovertemplate = "%{x:.4g}, %{y:.4g}<extra>%{fullData.name}</extra>";
    return drawn;
  };

  // Decades that an axis spans. For fewer than two, Plotly would label every digit.
  const decades = values => {
    const known = values.filter(value => value > 0);
    return known.length ? Math.log10(Math.max(...known) / Math.min(...known)) : 9;
  };

  const axis = (title, type, narrow = false) => ({
    title: { text: title, standoff: 6, font: { size: 12 } }, type, automargin: true, gridcolor: style("--line"), linecolor: style("--line"),
    zerolinecolor: style("--line"), tickfont: { size: narrow ? 13 : 11 }, nticks: 7, ...(narrow ? { dtick: "D2" } : {}),
    ...(title.startsWith("bytes") ? { exponentformat: "SI", ticksuffix: "B" } : { exponentformat: "power" }),
  });

  const layout = chart => {
    const bars = chart.parts.some(part => part.labels);
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: style("--ink"), size: 12 },
      margin: { l: 10, r: 12, t: bars ? 44 : 8, b: 10 }, barmode: "stack", hovermode: "closest",
      hoverlabel: { bgcolor: style("--panel"), font: { color: style("--ink") }, bordercolor: style("--line") },
      showlegend: bars ? chart.parts.length > 1 : chart.legend && window.innerWidth > 700,
      // On a logarithmic axis Plotly takes the places of shapes as they are; a band from 0 on then begins at its left end.
      shapes: chart.bands.map(([from, to]) => ({ type: "rect", xref: "x", yref: "paper", x0: from > 0 ? from : to / 1000, x1: to,
        y0: 0, y1: 1, layer: "below", line: { width: 0 }, fillcolor: style("--bad"), opacity: 0.16 })),
      legend: bars ? { orientation: "h", traceorder: "normal", x: 0, y: 1.02, yanchor: "bottom", font: { size: 11 } } : { font: { size: 11 } },
      xaxis: axis(chart.x, chart.xaxis !== "either" ? chart.xaxis : logx && logx.checked ? "log" : "linear"),
      yaxis: bars ? { ...axis(chart.y, "category"), autorange: "reversed", nticks: undefined } : axis(chart.y, chart.yaxis, chart.yaxis === "log" && decades(chart.parts.flatMap(part => part.y)) < 2),
    };
  };

  const draw = () => Promise.all(charts.map((chart, i) => Plotly.react(`chart-${i}`, chart.parts.map(trace), layout(chart),
    { responsive: true, displaylogo: false, displayModeBar: chart.small ? false : "hover", modeBarButtonsToRemove: ["select2d", "lasso2d"] })));

  const legends = () => document.querySelectorAll(".legend button").forEach(button => {
    const part = { series: Number(button.dataset.series), dash: button.dataset.dash || "solid" };
    button.querySelector("line").setAttribute("stroke", color(part.series));
    button.querySelector("line").setAttribute("stroke-dasharray", STROKES[dashOf(part)]);
    const mark = button.querySelector("path");
    if (mark) {
      mark.setAttribute("d", SHAPES[symbolOf(part.series)]);
      mark.setAttribute("fill", color(part.series));
    }
  });

  const toggle = button => {
    const name = button.dataset.name;
    if (!hidden.delete(name)) hidden.add(name);
    button.setAttribute("aria-pressed", String(!hidden.has(name)));
    return draw();
  };

  const unpack = async text => {
    const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  };

  const start = async () => {
    const packed = document.getElementById("library").textContent.trim();
    if (packed) await unpack(packed);
    document.querySelectorAll(".legend button").forEach(button => button.addEventListener("click", () => toggle(button)));
    const again = () => { legends(); return draw(); };
    await again();
    dark.addEventListener("change", again);
    if (logx) logx.addEventListener("change", draw);
    document.body.dataset.drawn = String(charts.length);
  };

  start().catch(error => {
    document.querySelectorAll(".chart").forEach(place => { place.textContent = `This browser cannot draw the chart: ${error}`; });
    throw error;
  });
})();

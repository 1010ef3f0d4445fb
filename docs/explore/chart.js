// A line chart as SVG, drawn at the width that its place has, so that its text has one size everywhere.
"use strict";
const CHART = (() => {
  const SPACE = "http://www.w3.org/2000/svg";
  const EDGE = {left: 46, right: 12, top: 10, bottom: 40};
  const DASHES = ["", "7 4", "2 4"];

  function make(parent, tag, attributes, text) {
    const element = document.createElementNS(SPACE, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    parent.append(element);
    return element;
  }

  function short(value) {
    if (!isFinite(value)) return value > 0 ? "∞" : "–";
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-3 || size >= 1e5)) return value.toExponential(1).replace("-", "−").replace("e+", "e");
    return String(Number(value.toPrecision(3))).replace("-", "−");
  }

  // Some four round numbers from 0 or below to the largest value.
  function ticks(low, high) {
    const rough = (high - low) / 4, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map(x => x * power).find(x => x >= rough * 0.999);
    const list = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-6; i++) list.push(i * step);
    return list;
  }

  // series: [{name, points: [[x, y]], dash, colour, dots: [[x, y]], unnamed}]; x: {low, high, ticks, log, label}
  function draw(place, {title, series, x, y, marks = [], guide}) {
    place.replaceChildren();
    const width = Math.max(place.clientWidth, 240), height = Math.min(270, Math.max(210, width * 0.6));
    const svg = make(place, "svg", {viewBox: `0 0 ${width} ${height}`, width, height, role: "img"});
    make(svg, "title", {}, title);
    const values = series.flatMap(s => [...s.points, ...(s.dots || [])]).map(point => point[1]).filter(isFinite);
    if (guide !== undefined) values.push(guide);
    const least = Math.min(0, ...values), most = Math.max(...values) * 1.04 || 1;
    const scale = x.log ? Math.log : v => v;
    const across = v => EDGE.left + (scale(v) - scale(x.low)) / (scale(x.high) - scale(x.low)) * (width - EDGE.left - EDGE.right);
    const up = v => height - EDGE.bottom - (v - least) / (most - least) * (height - EDGE.top - EDGE.bottom);
    for (const value of ticks(least, most)) {
      make(svg, "line", {class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: up(value), y2: up(value)});
      make(svg, "text", {class: "tick", x: EDGE.left - 6, y: up(value) + 4, "text-anchor": "end"}, short(value));
    }
    for (const value of x.ticks)
      make(svg, "text", {class: "tick", x: across(value), y: height - EDGE.bottom + 17, "text-anchor": "middle"}, short(value));
    make(svg, "text", {class: "label", x: (EDGE.left + width) / 2, y: height - 5, "text-anchor": "middle"}, x.label);
    if (guide !== undefined)
      make(svg, "line", {class: "guide", x1: EDGE.left, x2: width - EDGE.right, y1: up(guide), y2: up(guide)});
    for (const value of marks)
      make(svg, "line", {class: "mark", x1: across(value), x2: across(value), y1: EDGE.top, y2: height - EDGE.bottom});
    for (const s of series) {
      const path = s.points.filter(point => isFinite(point[1])).map(([a, b], i) => `${i ? "L" : "M"}${across(a).toFixed(1)} ${up(b).toFixed(1)}`).join("");
      make(svg, "path", {class: `series c${s.colour}`, d: path, "stroke-dasharray": DASHES[s.dash ?? s.colour] || "none"});
      for (const [a, b] of s.dots || [])
        if (isFinite(b)) make(svg, "circle", {class: `dot c${s.colour}`, cx: across(a), cy: up(b), r: 5});
    }
    const legend = document.createElement("p");
    legend.className = "legend";
    for (const s of series.filter(one => !one.unnamed)) {
      const entry = document.createElement("span"), key = make(entry, "svg", {width: 30, height: 12, "aria-hidden": "true"});
      if (s.points.length) make(key, "line", {class: `series c${s.colour}`, x1: 1, x2: 29, y1: 6, y2: 6, "stroke-dasharray": DASHES[s.dash ?? s.colour] || "none"});
      else make(key, "circle", {class: `dot c${s.colour}`, cx: 24, cy: 6, r: 5});
      entry.append(s.name);
      legend.append(entry);
    }
    place.append(legend);
  }

  return {draw, short};
})();

"use strict"
const R = window.REPORT
const PER_PAGE = 10
// Told apart by people who see few colours, too (Okabe and Ito), and on light and dark paper.
const COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#7f7f7f"]
const $ = id => document.getElementById(id)
const methods = [...new Set(R.summaries.map(s => s.method))]
const colorOf = method => COLORS[methods.indexOf(method) % COLORS.length]
const perPair = Object.keys(R.figures).filter(name => R.figures[name].kind === "pair")

function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "line", "path", "circle", "text", "g", "title"].includes(tag)
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value)
  node.append(...children)
  return node
}

// A value too small for its digits has two that count.
function round(value, name) {
  const digits = R.figures[name].digits
  return value && Math.abs(value) < 10 ** (1 - digits) ? value.toPrecision(2) : value.toFixed(digits)
}

function drawHead() {
  const size = R.about.size ? `short side ${R.about.size} pixels` : "pictures as large as they are"
  $("about").textContent = `${R.pairs.length} pairs, ${methods.length} methods, ${size}, judged by ${R.about.judge}`
  if (R.about.vote) $("links").prepend(make("a", {href: "vote.html"}, "Vote"))
  $("notes").append(...R.about.notes.map(note => make("li", {}, note)))
  $("glossary").append(...Object.values(R.figures).flatMap(f => [make("dt", {}, f.title), make("dd", {}, f.about)]))
}

function drawTable() {
  const rows = R.summaries.filter(s => !s.setting)
  const shown = Object.keys(R.figures).filter(name => rows.some(row => row[name]))
  const arrows = {low: " ↓", high: " ↑", "": ""}
  const head = shown.map(name => make("th", {scope: "col"}, R.figures[name].title + arrows[R.figures[name].better]))
  const best = Object.fromEntries(shown.map(name => {
    const means = rows.filter(row => row[name]).map(row => row[name].mean)
    return [name, R.figures[name].better === "low" ? Math.min(...means) : Math.max(...means)]
  }))
  const body = rows.map(row => make("tr", {}, make("th", {scope: "row"}, row.method), ...shown.map(name => {
    const f = row[name]
    if (!f) return make("td", {}, "–")
    const mean = round(f.mean, name)
    const first = rows.length > 1 && mean === round(best[name], name) ? make("b", {}, mean) : mean
    const range = `${round(f.low, name)} to ${round(f.high, name)}`
    return make("td", {title: `${f.n} pairs`}, first, make("small", {}, `median ${round(f.median, name)}`),
      make("small", {}, range))
  })))
  $("figures").append(make("thead", {}, make("tr", {}, make("th", {scope: "col"}, "method"), ...head)),
    make("tbody", {}, ...body))
}

function drawCurve() {
  const points = R.summaries.filter(s => s.ssim && s.style_distance)
  if (!points.length) return
  const [W, H, L, B, P] = [720, 440, 64, 52, 16]
  const span = name => {
    const values = points.map(p => p[name].mean)
    const [low, high] = [Math.min(...values), Math.max(...values)]
    const pad = Math.max((high - low) * 0.08, 0.02)
    return [low - pad, high + pad]
  }
  const [x0, x1] = span("ssim"), [y0, y1] = span("style_distance")
  const x = p => L + (p.ssim.mean - x0) / (x1 - x0) * (W - L - P)
  const y = p => P + (y1 - p.style_distance.mean) / (y1 - y0) * (H - B - P)
  const svg = make("svg", {viewBox: `0 0 ${W} ${H}`, role: "img",
    "aria-label": "Style distance over content SSIM, the figures of the table"})
  for (let i = 0; i <= 4; i++) {
    const [gx, gy] = [L + i / 4 * (W - L - P), P + i / 4 * (H - B - P)]
    svg.append(make("line", {class: "grid", x1: gx, x2: gx, y1: P, y2: H - B}),
      make("line", {class: "grid", x1: L, x2: W - P, y1: gy, y2: gy}),
      make("text", {x: gx, y: H - B + 20, "text-anchor": "middle"}, (x0 + i / 4 * (x1 - x0)).toFixed(2)),
      make("text", {x: L - 8, y: gy + 4, "text-anchor": "end"}, (y1 - i / 4 * (y1 - y0)).toFixed(2)))
  }
  svg.append(make("text", {x: (L + W - P) / 2, y: H - 8, "text-anchor": "middle"}, "content SSIM →"),
    make("text", {x: 14, y: (H - B) / 2, transform: `rotate(-90 14 ${(H - B) / 2})`, "text-anchor": "middle"},
      "← style distance"))
  for (const method of methods) {
    const own = points.filter(p => p.method === method).sort((a, b) => a.ssim.mean - b.ssim.mean)
    const stroke = colorOf(method)
    const path = own.map((p, i) => `${i ? "L" : "M"}${x(p).toFixed(1)} ${y(p).toFixed(1)}`).join("")
    if (own.length > 1) svg.append(make("path", {d: path, fill: "none", stroke, "stroke-width": 2}))
    for (const p of own) {
      const name = `${method}${p.setting ? ", " + p.setting : ""}: ` +
        `SSIM ${p.ssim.mean.toFixed(3)}, style distance ${p.style_distance.mean.toFixed(3)}`
      svg.append(make("circle", {cx: x(p), cy: y(p), r: p.setting ? 4 : 8, fill: stroke}, make("title", {}, name)))
    }
  }
  $("curve").append(svg)
  $("legend").append(...methods.map(method =>
    make("li", {}, make("i", {style: `background:${colorOf(method)}`}), method)))
}

let page = 0

function chosen() {
  const [content, style, sort] = [$("content").value, $("style").value, $("sort").value]
  const some = R.pairs.filter(pair => (!content || pair[0] === content) && (!style || pair[1] === style))
  if (!sort) return some
  const place = 3 + perPair.indexOf(sort), sign = R.figures[sort].better === "low" ? -1 : 1
  const worst = pair => Math.min(...pair[2].filter(row => row[place] !== null).map(row => sign * row[place]))
  return some.map(pair => [worst(pair), pair]).sort((a, b) => a[0] - b[0] || 0).map(([, pair]) => pair)
}

function picture(source, title, more) {
  const image = make("img", {src: source, alt: title, loading: "lazy", decoding: "async"})
  const link = make("a", {href: source}, image)
  return make("figure", {}, link, make("figcaption", {}, title, make("small", {}, more)))
}

function drawPairs() {
  const some = chosen(), pages = Math.max(Math.ceil(some.length / PER_PAGE), 1)
  page = Math.min(Math.max(page, 0), pages - 1)
  const all = $("settings").checked
  $("pairs").replaceChildren(...some.slice(page * PER_PAGE, (page + 1) * PER_PAGE).map(([content, style, rows]) =>
    make("article", {}, make("h3", {}, `${content} in the style of ${style}`), make("div", {class: "row"},
      picture(R.pictures[content], "photo", content), picture(R.pictures[style], "style", style),
      ...rows.filter(row => all || !row[1]).map(([method, setting, source, ...figures]) => {
        const facts = ["style_distance", "ssim", "calm"].map(name => [name, figures[perPair.indexOf(name)]])
        const told = facts.filter(([, value]) => value !== null).map(([name, value]) =>
          `${R.figures[name].title} ${round(value, name)}`).join(" · ")
        return picture(source, setting ? `${method}, ${setting}` : method, told)
      })))))
  $("page").textContent = `${page + 1} of ${pages}`
  $("previous").disabled = page === 0
  $("next").disabled = page === pages - 1
}

function turn(by) {
  page += by
  drawPairs()
  $("pictures-title").scrollIntoView()
}

function drawFilter() {
  const options = (id, names, all) =>
    $(id).append(make("option", {value: ""}, all), ...names.map(name => make("option", {value: name}, name)))
  options("content", [...new Set(R.pairs.map(pair => pair[0]))], "all")
  options("style", [...new Set(R.pairs.map(pair => pair[1]))], "all")
  $("sort").append(make("option", {value: ""}, "no, as they are"),
    ...perPair.map(name => make("option", {value: name}, R.figures[name].title)))
  $("settings").parentElement.hidden = !R.summaries.some(s => s.setting)
  $("filter").addEventListener("input", () => { page = 0; drawPairs() })
  $("filter").addEventListener("submit", event => event.preventDefault())
  $("previous").addEventListener("click", () => turn(-1))
  $("next").addEventListener("click", () => turn(1))
}

drawHead()
drawTable()
drawCurve()
drawFilter()
drawPairs()

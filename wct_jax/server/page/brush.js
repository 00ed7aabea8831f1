// The brush that paints masks over the picture, by pointer or by keys.
import "./compare.js"
import { find, make } from "./element.js"
import { look } from "./look.js"
import { drawStroke, isEmpty } from "./mask.js"
import { say } from "./notice.js"

export const TINTS = ["#e0563b", "#2c8fb8", "#6d9b3a", "#d99a1c", "#9067c6", "#c2508f"]
const LONGEST = 1024
const KEY_STEP = 0.02

const surface = make("canvas", { className: "mask", tabIndex: 0, hidden: true, role: "application" })
const ring = make("div", { className: "ring", hidden: true })
const base = document.createElement("canvas")
let target = null
let stroke = null
let erase = false
let at = [0.5, 0.5]
let onclose = () => {}

find("compare").append(surface, ring)

export const isBrushing = () => Boolean(target)

// Paint the mask of an entry of the look, over a picture of some proportions.
export function startBrush(entry, name, tint, { width, height }, closed) {
  stopBrush()
  target = { entry, tint }
  onclose = closed
  const scale = LONGEST / Math.max(width, height)
  for (const canvas of [surface, base]) Object.assign(canvas, { width: width * scale, height: height * scale })
  surface.setAttribute("aria-label", `Mask of ${name}: arrows move the brush, Space paints, E erases, Escape ends`)
  find("brush-for").textContent = name
  find("brush").style.setProperty("--tint", tint)
  find("brush").hidden = surface.hidden = ring.hidden = false
  find("compare").classList.add("brushing")
  setErase(false)
  redraw()
  place()
  surface.focus()
}

export function stopBrush() {
  if (!target) return
  target = stroke = null
  find("brush").hidden = surface.hidden = ring.hidden = true
  find("compare").classList.remove("brushing")
  onclose()
}

function redraw() {
  const context = base.getContext("2d")
  context.clearRect(0, 0, base.width, base.height)
  for (const each of target.entry.strokes) drawStroke(context, each, target.tint)
  show()
}

function show() {
  const context = surface.getContext("2d")
  context.clearRect(0, 0, surface.width, surface.height)
  context.drawImage(base, 0, 0)
  if (stroke) drawStroke(context, stroke, target.tint)
  const { entry } = target
  find("undo").disabled = !entry.strokes.length
  find("wipe").disabled = isEmpty(entry.strokes)
}

const size = () => Number(find("brush-size").value) / 100

function begin() {
  stroke = { points: [at], size: size(), soft: Number(find("brush-soft").value) / 100, erase }
  show()
}

function extend() {
  stroke?.points.push(at)
  place()
  if (stroke) show()
}

function end() {
  if (!stroke) return
  const done = stroke
  stroke = null
  put(done)
}

function put(done) {
  target.entry.strokes = [...target.entry.strokes, done]
  redraw()
  look.change()
}

function undo() {
  target.entry.strokes = target.entry.strokes.slice(0, -1)
  redraw()
  look.change()
  say("Undone")
}

function setErase(value) {
  erase = value
  find("draw").setAttribute("aria-pressed", !erase)
  find("erase").setAttribute("aria-pressed", erase)
}

function place() {
  const long = Math.max(surface.width, surface.height)
  ring.style.left = `${at[0] * 100}%`
  ring.style.top = `${at[1] * 100}%`
  ring.style.width = `${((size() * long) / surface.width) * 100}%`
}

const pointOf = event => {
  const { left, top, width, height } = surface.getBoundingClientRect()
  return [(event.clientX - left) / width, (event.clientY - top) / height]
}

surface.addEventListener("pointerdown", event => {
  if (event.button) return
  event.preventDefault()
  surface.focus()
  surface.setPointerCapture(event.pointerId)
  at = pointOf(event)
  begin()
  place()
})
surface.addEventListener("pointermove", event => {
  for (const each of event.getCoalescedEvents?.() ?? []) stroke?.points.push(pointOf(each))
  at = pointOf(event)
  extend()
})
surface.addEventListener("pointerup", end)
surface.addEventListener("pointercancel", end)
surface.addEventListener("keydown", event => {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }
  if (event.key in moves) {
    const share = event.shiftKey ? 4 * KEY_STEP : KEY_STEP
    at = at.map((value, axis) => Math.min(1, Math.max(0, value + moves[event.key][axis] * share)))
    extend()
  } else if (event.key === " ") {
    if (!event.repeat) begin()
  } else if (event.key === "e") setErase(!erase)
  else if (event.key === "z" || event.key === "Backspace") undo()
  else if (event.key === "Escape") stopBrush()
  else return
  event.preventDefault()
  event.stopPropagation()
})
surface.addEventListener("keyup", event => event.key === " " && end())
surface.addEventListener("blur", end)

find("draw").onclick = () => setErase(false)
find("erase").onclick = () => setErase(true)
find("undo").onclick = undo
find("wipe").onclick = () => put({ points: null })
find("brush-done").onclick = stopBrush
find("brush-size").oninput = place

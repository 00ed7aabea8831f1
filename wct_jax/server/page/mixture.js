// The mixture: how much of each chosen style there is, or where it goes.
import { TINTS, startBrush, stopBrush } from "./brush.js"
import { find, icon, make } from "./element.js"
import { look } from "./look.js"
import { isEmpty } from "./mask.js"

let photoOf = () => null
let drawn = []
let placed = false
const shares = find("shares")

// Take a function that returns the open photo.
export function openMixture(open) {
  photoOf = open
  draw()
}

function draw() {
  find("mixture").hidden = !look.chosen.length
  find("ways").hidden = !look.chosen.length
  for (const radio of find("ways").querySelectorAll("input")) radio.checked = Boolean(radio.value) === look.places
  // Drawn anew only if other rows are needed, or a slider would lose the pointer.
  const rows = look.places ? [...look.chosen, look.untouched] : look.chosen
  if (rows.length !== drawn.length || rows.some((each, index) => each !== drawn[index]) || look.places !== placed) {
    stopBrush()
    drawn = [...rows]
    placed = look.places
    shares.replaceChildren(...rows.map(look.places ? placeRow : shareRow))
  }
  mark()
  find("shares-hint").textContent = look.places ? places() : ""
  find("shares-hint").hidden = !look.places
  shares.hidden = !look.places && look.chosen.length < 2
}

const nameOf = entry => entry.style?.name ?? "the photo as it is"

function shareRow(entry) {
  const output = make("output")
  const range = make("input", { type: "range", min: 0, max: 100, value: entry.weight * 50, oninput: () => {
    entry.weight = Number(range.value) / 50
    look.change()
  } })
  entry.output = output
  return make("li", {}, make("label", { className: "slider" }, make("span", {}, entry.style.name), output, range))
}

function placeRow(entry, index) {
  const tint = TINTS[index % TINTS.length]
  const press = make("button", { type: "button", ariaPressed: "false", onclick: () => {
    const photo = photoOf()
    if (press.ariaPressed === "true" || !photo) return stopBrush()
    startBrush(entry, nameOf(entry), tint, photo, () => (press.ariaPressed = "false"))
    press.ariaPressed = "true"
  } }, icon("brush"), "Paint")
  press.setAttribute("aria-label", `Paint where ${nameOf(entry)} goes`)
  const dot = make("i", { className: "dot" })
  dot.style.background = tint
  entry.where = make("span", { className: "small" })
  return make("li", { className: "place" }, dot, make("span", { className: "name" }, nameOf(entry)), entry.where, press)
}

function mark() {
  const sum = look.chosen.reduce((total, each) => total + each.weight, 0)
  const rest = look.chosen.find(each => isEmpty(each.strokes))
  for (const each of [...look.chosen, look.untouched]) {
    if (each.output) each.output.textContent = sum ? `${Math.round((each.weight / sum) * 100)} %` : "0 %"
    if (each.where) each.where.textContent = !isEmpty(each.strokes) ? "painted" : each === rest ? "the rest" : ""
  }
}

function places() {
  if (!photoOf()) return "Open a photo, then paint on it where each style goes."
  const rest = look.chosen.find(each => isEmpty(each.strokes))
  if ([...look.chosen, look.untouched].every(each => isEmpty(each.strokes))) return "Paint on the picture where a style goes."
  return rest ? `${rest.style.name} goes where nothing is painted.` : "Where nothing is painted, the photo stays."
}

look.addEventListener("change", draw)
find("ways").addEventListener("change", event => {
  look.places = Boolean(event.target.value)
  look.change()
})

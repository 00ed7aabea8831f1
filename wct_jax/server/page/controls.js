// Controls: the form whose fields are the options of a painting.
import { find, make } from "./element.js"
import { DEFAULTS, look } from "./look.js"
import { SIZES } from "./order.js"
import { capital, scaleOf } from "./scale.js"

const form = find("controls")
const field = name => form.elements[name]
// Options that a field shows.
const SHOWN = [
  "strength", "structure", "style_size", "content_size", "preserve_color", "photo", "protect", "method", "transform", "passes", "margin", "alpha",
]

export function openControls(model) {
  for (const layer of model.layers) {
    const range = make("input", { type: "range", min: 0, max: 100, oninput: writeLayers })
    find("layers").append(make("label", { className: "slider", title: layer }, make("span", {}, capital(scaleOf(layer))), make("output"), range))
  }
  for (const name of ["method", "transform"]) {
    const offered = model[`${name}s`]
    for (const option of [...field(name).options]) if (option.value && offered && !offered.includes(option.value)) option.remove()
  }
  show()
}

const sliders = () => [...find("layers").querySelectorAll("input")]

function writeLayers() {
  const values = sliders().map(each => Number(each.value) / 100)
  look.set("alpha", values.every(each => each === values[0]) ? values[0] : values)
}

const number = name => Number(field(name).value)

const writers = {
  strength: () => {
    field("auto").checked = false
    look.set("strength", number("strength") / 100)
  },
  auto: () => look.set("strength", field("auto").checked ? null : number("strength") / 100),
  structure: () => look.set("structure", number("structure") / 100),
  style_size: () => look.set("style_size", SIZES[number("style_size") - 1]),
  preserve_color: () => look.set("preserve_color", field("preserve_color").value || null),
  method: () => look.set("method", field("method").value || null),
  transform: () => look.set("transform", field("transform").value),
  passes: () => look.set("passes", number("passes") || null),
  margin: () => look.set("margin", number("margin")),
  protect: () => look.set("protect", [...field("protect")].filter(each => each.checked).map(each => each.value)),
  photo: () => {
    delete look.options.strength
    look.set("photo", Boolean(field("photo").value))
  },
  flow: () => {
    look.flow = field("flow").checked
  },
}

form.addEventListener("input", ({ target }) => target.name in writers && writers[target.name]())
form.addEventListener("submit", event => event.preventDefault())
find("reset").onclick = () => look.load({})

function output(name, text) {
  field(name).previousElementSibling.textContent = text
  field(name).setAttribute("aria-valuetext", text)
}

const percent = value => `${Math.round(value * 100)} %`

function show() {
  const photo = look.get("photo")
  for (const each of form.querySelectorAll("[data-photo]")) each.hidden = !photo
  for (const each of form.querySelectorAll("[data-painting]")) each.hidden = photo
  for (const each of field("photo")) each.checked = Boolean(each.value) === photo
  const strength = look.get("strength")
  field("auto").checked = strength == null
  field("strength").value = (strength ?? 1) * 100
  output("strength", strength == null ? "automatic" : percent(strength))
  const structure = look.get("structure")
  field("structure").disabled = look.get("method") === "cascade" || Array.isArray(structure)
  if (!Array.isArray(structure)) field("structure").value = structure * 100
  output("structure", Array.isArray(structure) ? structure.map(percent).join(", ") : percent(structure))
  const size = look.get("style_size")
  field("style_size").value = size ? SIZES.findLastIndex(each => each <= Math.max(size, SIZES[0])) + 1 : 0
  output("style_size", size ? `${size} px` : "of the style")
  for (const name of ["preserve_color", "method", "transform", "passes", "margin"]) pick(field(name), look.get(name))
  for (const each of field("protect")) each.checked = look.get("protect").includes(each.value)
  field("flow").checked = look.flow
  showLayers()
  showLoaded()
}

function pick(select, value) {
  const text = value == null ? "" : String(value)
  if (![...select.options].some(each => each.value === text)) select.append(make("option", { value: text }, text))
  select.value = text
}

function showLayers() {
  const alpha = look.get("alpha")
  sliders().forEach((slider, index) => {
    const value = Array.isArray(alpha) ? alpha[index] ?? 1 : alpha
    slider.value = value * 100
    slider.previousElementSibling.textContent = percent(value)
  })
}

// Options that a picture brought and no field shows.
function showLoaded() {
  const others = Object.keys(look.options).filter(name => !SHOWN.includes(name))
  find("loaded").hidden = !others.length
  find("loaded").replaceChildren(...others.map(name => {
    const text = `${name.replaceAll("_", " ")}: ${[look.options[name]].flat().join(", ")} ×`
    const press = make("button", { type: "button", className: "chip", onclick: () => look.set(name, DEFAULTS[name]) }, text)
    press.setAttribute("aria-label", `Leave out ${name}`)
    return press
  }))
}

look.addEventListener("change", show)

// The look: everything that decides how a photo is painted, except the photo.
import { isEmpty } from "./mask.js"

// The server's `Options`, the values that a painting has without being asked.
export const DEFAULTS = {
  method: null, structure: 0, layers: null, alpha: 1, strength: 1, eps: 1e-6, shrinkage: 0, transform: "zca",
  whiten_only: false, swap_layers: [], patch: 3, stride: 1, passes: null, margin: 0, preserve_color: null,
  content_size: null, style_size: null, photo: false, protect: [],
}
// The options that a result in the photo's own drawing may have.
const OF_PHOTOS = ["photo", "protect", "strength", "content_size"]
export const MOST_CHOSEN = 6

class Look extends EventTarget {
  // Options that are not the defaults.
  options = {}
  // Of each chosen style: the style, its weight, and the strokes of its mask.
  chosen = []
  // The strokes of the mask of what stays as it is.
  untouched = { style: null, strokes: [] }
  places = false
  flow = true

  set(name, value) {
    if (value == null || JSON.stringify(value) === JSON.stringify(this.standard(name))) delete this.options[name]
    else this.options[name] = value
    this.change()
  }

  get(name) {
    return this.options[name] ?? this.standard(name)
  }

  standard(name) {
    // A photograph is changed as much as the colours call for.
    return name === "strength" && this.options.photo ? null : DEFAULTS[name]
  }

  load(options) {
    this.options = {}
    if (options.photo) this.options.photo = true
    for (const name of Object.keys(DEFAULTS)) {
      const value = options[name]
      if (value != null && JSON.stringify(value) !== JSON.stringify(this.standard(name))) this.options[name] = value
    }
    this.change()
  }

  toggle(style) {
    const before = this.chosen.length
    this.chosen = this.chosen.filter(each => each.style !== style)
    if (this.chosen.length === before) this.chosen = [...this.chosen, { style, weight: 1, strokes: [] }].slice(-MOST_CHOSEN)
    this.change()
  }

  // What `restore` brings back.
  snapshot() {
    const { chosen, untouched, places, flow, options } = this
    return { chosen: chosen.map(each => ({ ...each })), untouched: { ...untouched }, places, flow, options: { ...options } }
  }

  restore({ chosen, untouched, places, flow, options }) {
    Object.assign(this, { chosen: chosen.map(each => ({ ...each })), untouched: { ...untouched }, places, flow })
    this.load(options)
  }

  // The options to send: those that a painting has stay with the page while a photograph is asked for.
  asked() {
    const names = Object.keys(this.options).filter(name => !this.options.photo || OF_PHOTOS.includes(name))
    const options = Object.fromEntries(names.map(name => [name, this.options[name]]))
    if (!options.photo) delete options.protect
    return options
  }

  // The styles to send, and the strokes of the mask of each, or their weights.
  parts() {
    const painted = [...this.chosen, this.untouched].filter(each => !isEmpty(each.strokes))
    const rest = this.chosen.find(each => isEmpty(each.strokes))
    if (this.places && painted.length && this.chosen.length) {
      return { styles: [...painted, ...(rest ? [rest] : [])].map(each => each.style), masks: painted.map(each => each.strokes) }
    }
    const some = this.chosen.filter(each => each.weight > 0)
    return { styles: some.map(each => each.style), weights: some.map(each => each.weight), masks: [] }
  }

  change() {
    this.dispatchEvent(new Event("change"))
  }
}

export const look = new Look()

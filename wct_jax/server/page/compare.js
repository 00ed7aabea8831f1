// The slider between before and after: the picture after is clipped where the handle stands.

const STEP = 2

class BeforeAfter extends HTMLElement {
  #share = 50

  connectedCallback() {
    this.before = Object.assign(new Image(), { alt: "The photo", draggable: false, className: "before" })
    this.after = Object.assign(new Image(), { alt: "The result", draggable: false, className: "after" })
    this.handle = document.createElement("div")
    this.handle.className = "handle"
    this.handle.tabIndex = 0
    const about = { role: "slider", "aria-label": "Before and after", "aria-valuemin": 0, "aria-valuemax": 100 }
    for (const [name, value] of Object.entries(about)) this.handle.setAttribute(name, value)
    this.append(this.before, this.after, this.handle)
    this.handle.addEventListener("keydown", event => this.#key(event))
    this.handle.addEventListener("pointerdown", event => this.#grab(event))
    this.share = this.#share
  }

  get share() {
    return this.#share
  }

  // The share of the width, in percent, that shows the photo.
  set share(value) {
    this.#share = Math.min(100, Math.max(0, value))
    this.after.style.clipPath = `inset(0 0 0 ${this.#share}%)`
    this.handle.style.left = `${this.#share}%`
    this.handle.setAttribute("aria-valuenow", Math.round(this.#share))
    this.handle.setAttribute("aria-valuetext", `${Math.round(this.#share)} % photo`)
  }

  #key(event) {
    const moves = { ArrowLeft: -STEP, ArrowDown: -STEP, ArrowRight: STEP, ArrowUp: STEP, PageDown: -20, PageUp: 20, Home: -100, End: 100 }
    if (!(event.key in moves)) return
    event.preventDefault()
    event.stopPropagation()
    this.share += moves[event.key]
  }

  #grab(event) {
    event.preventDefault()
    event.stopPropagation()
    this.handle.focus()
    this.handle.setPointerCapture(event.pointerId)
    const move = ({ clientX }) => {
      const { left, width } = this.getBoundingClientRect()
      this.share = ((clientX - left) / width) * 100
    }
    this.handle.addEventListener("pointermove", move)
    this.handle.addEventListener("lostpointercapture", () => this.handle.removeEventListener("pointermove", move), { once: true })
  }
}

customElements.define("before-after", BeforeAfter)

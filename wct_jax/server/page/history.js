// The history: the results of this visit.
import { find, make } from "./element.js"

// Bytes of pictures that are kept in memory.
const MOST = 400e6
const list = find("history")
let results = []

// A result has a `blob`, its `url`, a `name`, `width` and `height`, and `show`, which brings it back.
export function remember(result) {
  results.push(result)
  while (results.length > 1 && results.reduce((sum, each) => sum + each.blob.size, 0) > MOST) {
    URL.revokeObjectURL(results.shift().url)
  }
  draw(result)
}

export function draw(shown) {
  list.hidden = !results.length
  list.replaceChildren(...results.map((result, index) => {
    const picture = result.film ? make("video", { src: result.url, muted: true, preload: "metadata" }) : make("img", { src: result.url, alt: "" })
    const press = make("button", { type: "button", title: result.name, onclick: result.show }, picture)
    press.setAttribute("aria-label", `Result ${index + 1}: ${result.name}`)
    press.setAttribute("aria-current", result === shown)
    return make("li", {}, press)
  }))
  list.querySelector("[aria-current=true]")?.scrollIntoView({ block: "nearest", inline: "nearest" })
}

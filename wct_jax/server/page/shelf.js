// The shelf of styles: the server's examples and one's own.
import { find, icon, make } from "./element.js"
import { look } from "./look.js"
import { complain, say } from "./notice.js"
import { thumbnail } from "./photo.js"
import { ask } from "./server.js"
import { drop, keep, kept } from "./store.js"

const shelf = []
const list = find("styles")
let fill
const filled = new Promise(resolve => (fill = resolve))

export async function openShelf() {
  const examples = await (await ask("/v1/styles")).json()
  for (const each of examples) {
    const url = URL.createObjectURL(await (await ask(each.thumbnail)).blob())
    shelf.push({ ...each, url })
  }
  draw()
  for (const { key, name, blob } of await kept().catch(() => [])) shelf.push(await own(key, name, blob))
  draw()
  fill()
}

async function own(key, name, blob) {
  try {
    return { key, name, blob, ...(await thumbnail(blob)) }
  } catch {
    // The browser cannot show it, but the server can.
    const style = { key, name, blob, width: 512, height: 512 }
    await idOf(style)
    const url = URL.createObjectURL(await (await ask(`/v1/styles/${style.id}/thumbnail`)).blob())
    return Object.assign(style, { url })
  }
}

export async function addStyles(files) {
  for (const file of files) {
    try {
      const name = (file.name || "style").replace(/\.[^.]*$/, "").slice(0, 40)
      const style = await own(null, name, file)
      style.key = await keep({ name, blob: file }).catch(() => null)
      shelf.push(style)
      look.toggle(style)
      say(`The style ${name} is added and chosen.`)
    } catch (error) {
      complain(error)
    }
  }
  draw()
}

async function remove(style) {
  if (look.chosen.some(each => each.style === style)) look.toggle(style)
  shelf.splice(shelf.indexOf(style), 1)
  if (style.key != null) await drop(style.key).catch(() => {})
  if (style.id) ask(`/v1/styles/${style.id}`, { method: "DELETE" }).catch(() => {})
  draw()
  say(`The style ${style.name} is removed.`)
  list.querySelector("button")?.focus()
}

// The server's id of a style, which is sent there when it is first needed.
export async function idOf(style) {
  style.id ??= upload(style)
  try {
    return (style.id = await style.id)
  } catch (error) {
    style.id = null
    throw error
  }
}

async function upload({ name, blob }) {
  const form = new FormData()
  form.append("style", blob, name)
  form.append("name", name)
  return (await (await ask("/v1/styles", { method: "POST", body: form })).json()).id
}

// Do something with ids of styles, and once more with new ones if the server has forgotten them: it may have restarted.
export async function withStyles(act) {
  try {
    return await act()
  } catch (error) {
    if (![404, 410].includes(error.status)) throw error
    for (const style of shelf) if (style.blob) style.id = null
    return act()
  }
}

// The styles that a result names.
export async function named(names) {
  await filled
  return names.map(name => shelf.find(each => each.name === name || `${each.name}.jpg` === name))
}

function draw() {
  list.replaceChildren(
    ...shelf.map(style => {
      const picture = make("img", { src: style.url, alt: "", draggable: false })
      const press = make("button", { type: "button", className: "style", onclick: () => look.toggle(style) }, picture, make("span", {}, style.name), icon("check"))
      const item = make("li", {}, press)
      style.press = press
      if (style.blob) {
        item.append(make("button", { type: "button", className: "close", ariaLabel: `Remove the style ${style.name}`, onclick: () => remove(style) }, icon("close")))
      }
      return item
    }),
    make("li", {}, make("button", { type: "button", className: "style add", onclick: () => find("style-files").click() }, icon("plus"), make("span", {}, "Add"))),
  )
  mark()
}

function mark() {
  for (const style of shelf) style.press?.setAttribute("aria-pressed", look.chosen.some(each => each.style === style))
}

look.addEventListener("change", mark)
find("style-files").onchange = event => {
  addStyles([...event.target.files])
  event.target.value = ""
}

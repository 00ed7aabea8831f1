// Opening: the ways in which files come to the page.
import { photograph } from "./camera.js"
import { find } from "./element.js"
import { look } from "./look.js"
import { complain, notify } from "./notice.js"
import { ask } from "./server.js"
import { addStyles, named } from "./shelf.js"

const PICTURE = /^(image|video)\//
const SUFFIX = /\.(jpe?g|png|webp|gif|bmp|tiff?|hei[cf]|avif|mp4|mov|m4v|webm|mkv)$/i

// Take a function that opens files which are photos or films.
export function openDoors(open) {
  const pick = () => find("files").click()
  find("open").onclick = find("choose").onclick = pick
  find("photograph").onclick = find("shoot").onclick = () => photograph(open)
  find("files").onchange = ({ target }) => {
    receive([...target.files], open)
    target.value = ""
  }
  document.addEventListener("paste", ({ clipboardData }) => {
    if (clipboardData.files.length) receive([...clipboardData.files], open)
  })
  openForDrops(open)
}

function openForDrops(open) {
  let inside = 0
  const cover = shown => (find("drop").hidden = !shown)
  const isFiles = event => event.dataTransfer?.types.includes("Files")
  document.addEventListener("dragenter", event => isFiles(event) && cover(++inside))
  document.addEventListener("dragleave", event => isFiles(event) && cover((inside = Math.max(0, inside - 1))))
  document.addEventListener("dragover", event => event.preventDefault())
  document.addEventListener("drop", event => {
    event.preventDefault()
    cover((inside = 0))
    const files = [...event.dataTransfer.files]
    if (find("styles").contains(event.target)) addStyles(files)
    else receive(files, open)
  })
}

async function receive(files, open) {
  const pictures = files.filter(file => PICTURE.test(file.type) || SUFFIX.test(file.name))
  if (!pictures.length) return files.length && complain(new Error(`${files[0].name} is no picture.`))
  const results = pictures.length === 1 && /png$/i.test(pictures[0].type) && (await settingsOf(pictures[0]))
  if (!results) return open(pictures)
  await load(results)
  const act = () => open(pictures)
  notify(`The settings of ${pictures[0].name} are loaded.`, { action: "Open it as a photo", act })
}

async function settingsOf(file) {
  // Only results of ours hold this word; other files need not travel.
  const text = new TextDecoder("latin1").decode(await file.slice(0, 2 ** 16).arrayBuffer())
  const end = new TextDecoder("latin1").decode(await file.slice(-(2 ** 16)).arrayBuffer())
  if (!`${text}${end}`.includes("wct_jax")) return null
  const form = new FormData()
  form.append("picture", file, file.name)
  return ask("/v1/settings", { method: "POST", body: form }).then(answer => answer.json(), () => null)
}

async function load({ options, styles = [], style_weights: weights, masks = [] }) {
  const found = await named(styles)
  if (!masks.length && found.length && found.every(Boolean)) {
    look.chosen = found.map((style, index) => ({ style, weight: weights?.[index] ?? 1, strokes: [] }))
    look.places = false
  } else if (found.some(each => !each)) {
    notify(`The picture was made with ${styles.join(" and ")}, which ${styles.length > 1 ? "are" : "is"} not all here.`)
  }
  look.load(options)
}

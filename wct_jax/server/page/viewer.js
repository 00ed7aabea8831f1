// The viewer: the picture before and after, zoomed and moved.
import "./compare.js"
import { find } from "./element.js"

const [canvas, compare, film] = ["canvas", "compare", "film"].map(find)
const LEAST = 0.02
const MOST = 16
// Space around a picture that fits.
const EDGE = matchMedia("(max-width: 820px)").matches ? 8 : 28

const view = { width: 1, height: 1, scale: 1, x: 0, y: 0, fits: true }

// Show a photo of some size in pixels, and what has become of it so far.
export function showPhoto(url, width, height) {
  find("welcome").hidden = true
  find("view").hidden = false
  compare.before.src = url
  compare.classList.add("untouched")
  resize(width, height)
  fit()
}

// Show a result beside the photo that it was made from.
export async function showResult(url, width, height, photo) {
  film.hidden = true
  compare.hidden = false
  // Decoded first, or the picture would be blank for a moment.
  const image = Object.assign(new Image(), { src: url })
  await image.decode()
  compare.after.src = url
  if (compare.before.src !== photo.url) compare.before.src = photo.url
  resize(width, height)
  compare.classList.remove("untouched")
}

export function showFilm(url) {
  film.src = url
  film.hidden = false
  compare.hidden = true
}

export const showsPhotoOnly = () => {
  film.hidden = true
  compare.hidden = false
  compare.classList.add("untouched")
}

export function badge(text, kind = "") {
  find("badge").textContent = text
  find("badge").className = `badge ${kind}`
}

function resize(width, height) {
  const before = view.width
  Object.assign(view, { width, height })
  if (view.fits) fit()
  else {
    view.scale *= before / width
    place()
  }
}

const room = () => [canvas.clientWidth, canvas.clientHeight]

export function fit() {
  const [wide, high] = room()
  view.scale = Math.min((wide - 2 * EDGE) / view.width, (high - 2 * EDGE) / view.height)
  // Small pictures grow, but not until they are only squares.
  view.scale = Math.max(Math.min(view.scale, 4), LEAST / 4)
  view.x = view.y = 0
  view.fits = true
  place()
}

function zoom(scale, x = 0, y = 0) {
  const wanted = Math.min(MOST, Math.max(LEAST, scale))
  // The point under the pointer stays.
  view.x = x - ((x - view.x) * wanted) / view.scale
  view.y = y - ((y - view.y) * wanted) / view.scale
  view.scale = wanted
  view.fits = false
  place()
}

function place() {
  const [wide, high] = room()
  const [width, height] = [view.width * view.scale, view.height * view.scale]
  const [mostX, mostY] = [Math.max(0, (width - wide) / 2 + EDGE), Math.max(0, (height - high) / 2 + EDGE)]
  view.x = Math.min(mostX, Math.max(-mostX, view.x))
  view.y = Math.min(mostY, Math.max(-mostY, view.y))
  compare.style.width = `${width}px`
  compare.style.height = `${height}px`
  compare.style.transform = `translate(${(wide - width) / 2 + view.x}px, ${(high - height) / 2 + view.y}px)`
  const pixels = view.scale * devicePixelRatio
  compare.classList.toggle("pixels", pixels >= 2)
  canvas.classList.toggle("movable", mostX + mostY > 0)
  find("zoom").textContent = `${Math.round(pixels * 100)} %`
}

const zoomBy = factor => zoom(view.scale * factor)
const zoomToPixels = () => zoom(1 / devicePixelRatio)

find("closer").onclick = () => zoomBy(1.5)
find("closer-not").onclick = () => zoomBy(1 / 1.5)
find("pixels").onclick = zoomToPixels
find("fit").onclick = fit
new ResizeObserver(() => (view.fits ? fit() : place())).observe(canvas)

canvas.addEventListener("wheel", event => {
  event.preventDefault()
  const { left, top } = canvas.getBoundingClientRect()
  const [wide, high] = room()
  zoom(view.scale * Math.exp(-event.deltaY * 0.0025), event.clientX - left - wide / 2, event.clientY - top - high / 2)
}, { passive: false })

canvas.addEventListener("dblclick", () => (view.fits ? zoomToPixels() : fit()))

canvas.addEventListener("keydown", event => {
  if (event.target !== canvas) return
  const step = 60
  const acts = {
    "+": () => zoomBy(1.5), "=": () => zoomBy(1.5), "-": () => zoomBy(1 / 1.5), 0: fit, 1: zoomToPixels,
    ArrowLeft: () => (view.x += step), ArrowRight: () => (view.x -= step),
    ArrowUp: () => (view.y += step), ArrowDown: () => (view.y -= step),
  }
  if (!(event.key in acts) || event.ctrlKey || event.metaKey) return
  event.preventDefault()
  acts[event.key]()
  place()
})

// One pointer moves the picture, two zoom it.
const pointers = new Map()
canvas.addEventListener("pointerdown", event => {
  if (event.target.closest("video, .handle, .mask") || event.button) return
  pointers.set(event.pointerId, event)
  canvas.setPointerCapture(event.pointerId)
})
canvas.addEventListener("pointermove", event => {
  const last = pointers.get(event.pointerId)
  if (!last) return
  const other = [...pointers.values()].find(each => each.pointerId !== event.pointerId)
  if (other) {
    const far = each => Math.hypot(each.clientX - other.clientX, each.clientY - other.clientY) || 1
    const { left, top } = canvas.getBoundingClientRect()
    const [wide, high] = room()
    const middle = [(event.clientX + other.clientX) / 2 - left - wide / 2, (event.clientY + other.clientY) / 2 - top - high / 2]
    zoom((view.scale * far(event)) / far(last), ...middle)
  } else {
    view.x += event.clientX - last.clientX
    view.y += event.clientY - last.clientY
    place()
  }
  pointers.set(event.pointerId, event)
})
for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, event => pointers.delete(event.pointerId))

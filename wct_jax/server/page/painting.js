// The painting at full size: ordered, watched, cancelled, and saved.
import { find, make } from "./element.js"
import { draw as drawHistory, remember } from "./history.js"
import { forget, left, resultOf, stageOf, work } from "./job.js"
import { look } from "./look.js"
import { complain, say } from "./notice.js"
import { order, pathOf } from "./order.js"
import { stopPreview } from "./preview.js"
import { save } from "./saving.js"
import { withStyles } from "./shelf.js"
import { badge, showFilm, showResult } from "./viewer.js"

const SIDES = [512, 720, 1080, 1440, 2160]
let running = null
let shown = null

const wanted = () => ({ format: find("format").value, strip: find("strip").checked })

// Show what is being done until it ends. `act` takes a function to report a job to, and a signal to stop.
export async function busy(act) {
  running = new AbortController()
  find("offer").hidden = true
  find("work").hidden = false
  find("work-bar").removeAttribute("value")
  report({ status: "queued", stage: "Sending" })
  find("cancel").focus({ preventScroll: true })
  try {
    return await act(report, running.signal)
  } catch (error) {
    badge(error.name === "AbortError" ? "Cancelled" : "")
    if (error.name === "AbortError") say("Cancelled")
    complain(error)
  } finally {
    running = null
    find("offer").hidden = false
    find("work").hidden = true
    find(shown ? "save" : "paint").focus({ preventScroll: true })
  }
}

export const isBusy = () => Boolean(running)

export function report(job) {
  const text = stageOf(job)
  if (find("work-stage").textContent !== text) {
    find("work-stage").textContent = text
    say(text)
  }
  find("work-left").textContent = left(job.seconds_left)
  if (job.total) find("work-bar").value = job.done / job.total
}

export async function paint(photo) {
  stopPreview()
  badge("Painting at full size", "busy")
  const then = look.snapshot()
  return busy(async (onprogress, signal) => {
    const start = performance.now()
    const [job, fields] = await withStyles(async () => {
      const fields = await order(photo, wanted())
      return [await work(pathOf(photo), fields, onprogress, signal), fields]
    })
    await present({ photo, fields, look: then }, job, `${((performance.now() - start) / 1000).toFixed(1)} s`, signal)
    forget(job.id)
  })
}

// Fetch the result of a job, show and remember it.
export async function present({ photo, fields, look: then }, job, note, signal) {
  const blob = await resultOf(job, signal)
  const { width, height, name } = job
  const saved = { format: fields.get("format"), strip: fields.has("strip") }
  const result = { blob, url: URL.createObjectURL(blob), name, width, height, film: photo.film, fields, note, photo, saved }
  result.show = () => {
    look.restore(then)
    show(result)
  }
  await show(result)
  remember(result)
  say(`Done: ${width} by ${height} pixels`)
}

// Show a result in place of a preview.
async function show(result) {
  stopPreview()
  shown = result
  if (result.film) showFilm(result.url)
  else await showResult(result.url, result.width, result.height, result.photo)
  badge(`Full size · ${result.width} × ${result.height} · ${result.note}`, "done")
  drawHistory(result)
  mark()
}

export function leave() {
  shown = null
  drawHistory(null)
  mark()
}

function mark() {
  find("save").hidden = !shown
  find("save").classList.toggle("primary", Boolean(shown))
  find("paint").classList.toggle("primary", !shown)
}

async function saveShown() {
  const result = shown
  const { format, strip } = wanted()
  const stem = result.name.replace(/\.[^.]*$/, "")
  if (result.film || (format === result.saved.format && strip === result.saved.strip)) return save(result.blob, result.name)
  // The server writes it in another way.
  const fields = new FormData()
  for (const [name, value] of result.fields) if (!["format", "strip"].includes(name)) fields.append(name, value)
  fields.append("format", format)
  if (strip) fields.append("strip", "true")
  await busy(async (onprogress, signal) => {
    const job = await work("/v1/paint", fields, onprogress, signal)
    save(await resultOf(job, signal), format === "png" ? `${stem}.png` : `${stem}.jpg`)
  })
}

// Offer the sizes that a photo can be painted in.
export function offerSizes(photo) {
  const { shortest, width, height } = photo
  const options = [["", photo.converted ? "Full size" : `Full, ${width} × ${height}`]]
  for (const side of SIDES.filter(each => each < shortest).reverse()) {
    options.push([side, `${Math.round((width * side) / shortest)} × ${Math.round((height * side) / shortest)}`])
  }
  const size = look.get("content_size")
  if (size && !options.some(([side]) => side === size)) options.push([size, `short side ${size} px`])
  find("size").replaceChildren(...options.map(([value, text]) => make("option", { value }, text)))
  find("size").value = size ?? ""
  find("size").disabled = false
  find("saving").hidden = photo.film
  hint(photo)
}

function hint(photo) {
  const side = look.get("content_size") ?? photo.shortest
  const large = (photo.longest * side) / photo.shortest > 1400 && !look.get("photo")
  find("size-hint").hidden = !large
  find("size-hint").textContent = large ? "At this size strokes come out finer than in the preview. A smaller size keeps them bold." : ""
}

find("size").onchange = () => look.set("content_size", Number(find("size").value) || null)
find("cancel").onclick = () => running?.abort()
find("save").onclick = () => saveShown().catch(complain)

// The batch: several photos in one look.
import { find, make, icon } from "./element.js"
import { left, work } from "./job.js"
import { look } from "./look.js"
import { complain, say } from "./notice.js"
import { order, pathOf } from "./order.js"
import { busy } from "./painting.js"
import { thumbnail } from "./photo.js"
import { save } from "./saving.js"
import { ask } from "./server.js"
import { withStyles } from "./shelf.js"

// Jobs that wait at the server at the same time.
const AHEAD = 2
let rows = []
let choose = () => {}

export const isBatch = () => rows.length > 1

// Show photos to be painted together. `chosen` is called with the one that a person wants to see, and its row.
export async function openBatch(photos, chosen) {
  choose = chosen
  rows = photos.map(row)
  find("batch").hidden = false
  find("batch-zip")?.remove()
  find("batch").scrollIntoView({ block: "nearest" })
  find("batch-title").textContent = `${photos.length} photos`
  find("batch-list").replaceChildren(...rows.map(each => each.item))
  for (const each of rows) {
    await thumbnail(each.photo.file, 96).then(({ url }) => (each.picture.src = url), () => each.picture.remove())
  }
}

export function closeBatch() {
  rows = []
  find("batch").hidden = true
}

function row(photo) {
  const picture = make("img", { alt: "" })
  const text = make("span", { className: "small" }, "")
  const bar = make("progress", { max: 1, value: 0, hidden: true, ariaLabel: `Progress of ${photo.name}` })
  const press = make("button", { type: "button", onclick: () => choose(photo, self) }, picture, make("span", { className: "name" }, photo.name), text)
  const item = make("li", {}, press, bar)
  const self = { photo, picture, text, bar, item, job: null, commission: null }
  return self
}

export function markShown(photo) {
  for (const each of rows) each.item.firstChild.setAttribute("aria-current", each.photo === photo)
}

function tell(row, text, kind = "") {
  row.text.textContent = text
  row.item.className = kind
}

export const paintAll = wanted =>
  busy(async (onprogress, signal) => {
    const queue = [...rows]
    let finished = 0
    for (const row of rows) {
      row.job = null
      tell(row, "waiting")
    }
    const count = () => onprogress({ status: "running", stage: `${finished} of ${rows.length} photos`, done: finished, total: rows.length })
    const painter = async () => {
      for (let row = queue.shift(); row; row = queue.shift()) {
        await paintOne(row, wanted, signal)
        finished += 1
        count()
      }
    }
    count()
    await Promise.all(Array.from({ length: AHEAD }, painter)).finally(report)
  })

async function paintOne(row, wanted, signal) {
  try {
    const progress = job => {
      tell(row, job.status === "running" ? left(job.seconds_left) || "painting" : "waiting", "busy")
      row.bar.hidden = false
      row.bar.value = job.total ? job.done / job.total : 0
    }
    const then = look.snapshot()
    row.job = await withStyles(async () => {
      row.commission = { photo: row.photo, fields: await order(row.photo, wanted), look: then }
      return work(pathOf(row.photo), row.commission.fields, progress, signal)
    })
    tell(row, "done", "done")
  } catch (error) {
    if (signal.aborted) {
      tell(row, "cancelled")
      throw error
    }
    tell(row, error.message, "failed")
  } finally {
    row.bar.hidden = true
  }
}

function report() {
  const [done, failed] = [rows.filter(each => each.job).length, rows.filter(each => each.item.className === "failed").length]
  say(`${done} photos are painted, ${failed} failed.`)
  find("batch-zip")?.remove()
  if (!done) return
  const zip = make("button", { type: "button", id: "batch-zip", className: "primary", onclick: () => archive().catch(complain) })
  zip.append(icon("save"), `Save ${done} as ZIP`)
  find("batch").append(zip)
  zip.scrollIntoView({ block: "nearest" })
}

async function archive() {
  const jobs = rows.filter(each => each.job).map(each => each.job.id)
  const request = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ jobs }) }
  save(await (await ask("/v1/archive", request)).blob(), "studio.zip")
}

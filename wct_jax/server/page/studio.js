// The studio: opens the page, and joins its parts.
import { closeBatch, isBatch, markShown, openBatch, paintAll } from "./batch.js"
import { stopBrush } from "./brush.js"
import { openControls } from "./controls.js"
import { find } from "./element.js"
import { look } from "./look.js"
import { openMixture } from "./mixture.js"
import { complain, say } from "./notice.js"
import { openDoors } from "./opening.js"
import { isBusy, leave, offerSizes, paint, present } from "./painting.js"
import { Photo } from "./photo.js"
import { preview } from "./preview.js"
import { askPatiently } from "./server.js"
import { openShelf } from "./shelf.js"
import { showPhoto } from "./viewer.js"

let photo = null
let films = false

async function open(files) {
  const photos = files.map(file => new Photo(file))
  if (photos.some(each => each.film) && !films) {
    return complain(new Error("This server repaints no films: it needs the extra `video`."))
  }
  closeBatch()
  if (photos.length > 1) openBatch(photos, bring)
  await bring(photos[0])
}

// Bring a photo to the stage, and what a batch has made of it.
async function bring(next, made) {
  stopBrush()
  try {
    await next.open()
  } catch (error) {
    return complain(error)
  }
  if (photo && photo !== next && !isBatch()) forgetStrokes()
  photo = next
  markShown(photo)
  find("of-films").hidden = !photo.film
  document.title = `${photo.name} · Studio`
  showPhoto(photo.url, photo.width, photo.height)
  refresh()
  if (made?.job) await present(made.commission, made.job, "batch").catch(complain)
}

// Masks belong to a photo.
function forgetStrokes() {
  for (const each of [...look.chosen, look.untouched]) each.strokes = []
  look.change()
}

function refresh() {
  find("styles-hint").hidden = look.chosen.length > 0
  find("paint").disabled = !photo || !look.parts().styles.length
  find("paint").textContent = isBatch() ? "Paint all" : photo?.film ? "Repaint the film" : "Paint"
  if (!photo) return
  leave()
  offerSizes(photo)
  preview(photo)
}

find("paint").onclick = () => {
  if (isBusy()) return
  if (isBatch()) paintAll({ format: find("format").value, strip: find("strip").checked })
  else paint(photo).catch(complain)
}
find("batch-close").onclick = () => {
  closeBatch()
  refresh()
}

const wait = () => say("The server is getting ready")

openMixture(() => photo)
openDoors(open)
look.addEventListener("change", refresh)
try {
  const [models, health] = await Promise.all(["/v1/models", "/v1/health"].map(async path => (await askPatiently(path, {}, wait)).json()))
  films = health.films
  openControls(models.find(each => each.default) ?? models[0])
  await openShelf()
} catch (error) {
  const token = error.status === 401
  complain(token ? new Error("Open the page by the whole address that the server printed, with its token.") : error)
}

// The camera: a dialog that takes a photo.
import { find } from "./element.js"
import { complain } from "./notice.js"

const dialog = find("finder")
const video = find("finder-view")
let stream = null
let facing = "environment"
let take = () => {}

export async function photograph(taken) {
  take = taken
  // Browsers lend the camera to safe pages only; elsewhere a phone's own camera serves.
  if (!navigator.mediaDevices) return find("snapshot").click()
  try {
    await start()
    dialog.showModal()
  } catch (error) {
    const sentences = { NotAllowedError: "The browser was not allowed to use the camera.", NotFoundError: "There is no camera." }
    complain(new Error(sentences[error.name] || `The camera does not start: ${error.message}`))
  }
}

async function start() {
  stop()
  stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: facing, width: { ideal: 4096 }, height: { ideal: 4096 } } })
  video.srcObject = stream
  video.classList.toggle("mirrored", facing === "user")
  const all = await navigator.mediaDevices.enumerateDevices()
  find("finder-turn").hidden = all.filter(each => each.kind === "videoinput").length < 2
  await video.play()
}

function stop() {
  for (const track of stream?.getTracks() ?? []) track.stop()
  stream = null
}

find("finder-take").onclick = () => {
  const canvas = document.createElement("canvas")
  Object.assign(canvas, { width: video.videoWidth, height: video.videoHeight })
  canvas.getContext("2d").drawImage(video, 0, 0)
  canvas.toBlob(blob => take([new File([blob], "camera.jpg", { type: "image/jpeg" })]), "image/jpeg", 0.95)
  dialog.close()
}
find("finder-turn").onclick = () => {
  facing = facing === "user" ? "environment" : "user"
  start().catch(complain)
}
find("finder-close").onclick = () => dialog.close()
dialog.addEventListener("close", stop)
find("snapshot").onchange = ({ target }) => {
  take([...target.files])
  target.value = ""
}

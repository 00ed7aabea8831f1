// Previews: a small painting after each change. The newest wins.
import { pause } from "./element.js"
import { look } from "./look.js"
import { say } from "./notice.js"
import { order } from "./order.js"
import { askPatiently } from "./server.js"
import { withStyles } from "./shelf.js"
import { badge, showResult, showsPhotoOnly } from "./viewer.js"

// The longer side, for which the server has compiled everything when it starts.
const LONGEST = 512
// Milliseconds without a change, so that a slider does not ask at every step.
const QUIET = 40

let current = null
let shown = null

export function stopPreview() {
  current?.abort()
  current = null
}

export async function preview(photo) {
  stopPreview()
  if (!look.parts().styles.length) {
    showsPhotoOnly()
    return badge("Choose a style")
  }
  badge("Painting a preview", "busy")
  current = new AbortController()
  const { signal } = current
  try {
    await pause(QUIET, signal)
    await paint(photo, signal)
  } catch (error) {
    if (signal.aborted) return
    badge(error.message, "error")
    say(error.message)
  }
}

async function paint(photo, signal) {
  const answer = await painted(photo, signal)
  const url = URL.createObjectURL(await answer.blob())
  if (signal.aborted) return URL.revokeObjectURL(url)
  await showResult(url, photo.width, photo.height, photo)
  URL.revokeObjectURL(shown)
  shown = url
  const [width, height, seconds] = ["Width", "Height", "Seconds"].map(name => answer.headers.get(`X-WCT-${name}`))
  badge(`Preview · ${width} × ${height} · ${Number(seconds).toFixed(2)} s`)
}

const painted = (photo, signal) =>
  withStyles(async () => {
    const body = await order(photo, { longest: LONGEST })
    const onwait = () => badge("The server is busy: the preview waits", "busy")
    return askPatiently("/v1/paint", { method: "POST", body, signal }, onwait)
  })

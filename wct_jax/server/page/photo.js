// Photos: a file, a small copy of it to preview with, and its size.
import { ask } from "./server.js"

// The longer side of the small copy.
const COPY = 1280

export class Photo {
  constructor(file) {
    this.file = file
    this.name = file.name || "photo"
    this.film = file.type.startsWith("video/")
    this.smaller = new Map()
  }

  // Read what the page needs of it.
  async open() {
    if (this.copy) return this
    if (this.film) await this.#openFilm()
    else await this.#openPicture().catch(() => this.#askServer())
    return this
  }

  async #openPicture() {
    const image = await createImageBitmap(this.file, { imageOrientation: "from-image" })
    this.#take(image, image.width, image.height)
    image.close()
    this.url = URL.createObjectURL(this.file)
  }

  // Browsers show no HEIC and no TIFF. The server does, because a strength of 0 is the photo.
  async #askServer() {
    const form = new FormData()
    form.append("content", this.file, this.name)
    form.append("style_id", "waves")
    form.append("options", '{"strength": 0}')
    form.append("longest", COPY)
    const blob = await (await ask("/v1/paint", { method: "POST", body: form })).blob()
    const image = await createImageBitmap(blob)
    this.#take(image, image.width, image.height)
    this.url = URL.createObjectURL(blob)
    this.converted = true
  }

  async #openFilm() {
    const video = document.createElement("video")
    video.muted = true
    video.src = URL.createObjectURL(this.file)
    await new Promise((resolve, reject) => {
      video.onloadeddata = () => (video.currentTime = Math.min(1, video.duration / 4 || 0))
      video.onseeked = resolve
      video.onerror = () => reject(new Error("This browser cannot play the film, so that there is no preview."))
    })
    this.#take(video, video.videoWidth, video.videoHeight)
    URL.revokeObjectURL(video.src)
    this.url = URL.createObjectURL(await this.small(COPY))
  }

  #take(image, width, height) {
    Object.assign(this, { width, height })
    const scale = Math.min(1, COPY / Math.max(width, height))
    this.copy = drawn(image, Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)))
  }

  get longest() {
    return Math.max(this.width, this.height)
  }

  get shortest() {
    return Math.min(this.width, this.height)
  }

  // A copy for a preview, as a file.
  async small(side) {
    const scale = Math.min(1, side / Math.max(this.copy.width, this.copy.height))
    if (!this.smaller.has(side)) {
      const [width, height] = [this.copy.width, this.copy.height].map(each => Math.max(1, Math.round(each * scale)))
      const canvas = drawn(this.copy, width, height)
      // Other formats may have transparent parts.
      const type = this.film || this.file.type === "image/jpeg" ? "image/jpeg" : "image/png"
      this.smaller.set(side, await new Promise(resolve => canvas.toBlob(resolve, type, 0.95)))
    }
    return this.smaller.get(side)
  }

  close() {
    URL.revokeObjectURL(this.url)
    this.copy = null
    this.smaller.clear()
  }
}

function drawn(image, width, height) {
  const canvas = document.createElement("canvas")
  Object.assign(canvas, { width, height })
  const context = canvas.getContext("2d")
  context.imageSmoothingQuality = "high"
  context.drawImage(image, 0, 0, width, height)
  return canvas
}

// A small square or oblong picture of a photo, for lists.
export async function thumbnail(file, side = 256) {
  const image = await createImageBitmap(file, { imageOrientation: "from-image" })
  const scale = Math.min(1, side / Math.min(image.width, image.height))
  const canvas = drawn(image, Math.max(1, Math.round(image.width * scale)), Math.max(1, Math.round(image.height * scale)))
  const blob = await new Promise(resolve => canvas.toBlob(resolve, "image/jpeg", 0.85))
  const { width, height } = image
  image.close()
  return { url: URL.createObjectURL(blob), width, height }
}

// Orders: the form that asks the server for a picture.
import { look } from "./look.js"
import { drawMask } from "./mask.js"
import { idOf } from "./shelf.js"

// Sizes of a style's short side that are offered. There are few, because the server compiles each anew.
export const SIZES = [128, 192, 256, 384, 512, 768, 1024, 1536, 2048]

export const pathOf = photo => (photo.film ? "/v1/films" : "/v1/paint")

export async function order(photo, { longest, format = "png", strip = false } = {}) {
  const form = new FormData()
  const { styles, weights, masks } = look.parts()
  const options = look.asked()
  const content = longest ? await photo.small(longest) : photo.file
  if (longest) {
    form.append("longest", longest)
    delete options.content_size
  }
  const film = photo.film && !longest
  form.append(film ? "film" : "content", content, photo.name)
  for (const style of styles) form.append("style_id", style ? await idOf(style) : "none")
  if (weights?.length > 1) form.append("weights", JSON.stringify(weights))
  for (const strokes of masks) {
    const blob = await drawMask(strokes, photo.width, photo.height, longest || 2048)
    form.append("mask", blob, "mask.png")
  }
  form.append("options", JSON.stringify(options))
  if (film) {
    form.append("flow", look.flow)
    return form
  }
  form.append("format", format)
  if (strip) form.append("strip", "true")
  return form
}

// Saving: a file that the browser keeps.
import { make } from "./element.js"

export function save(blob, name) {
  const url = URL.createObjectURL(blob)
  make("a", { href: url, download: name }).click()
  setTimeout(() => URL.revokeObjectURL(url), 60000)
}

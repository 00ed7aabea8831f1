// The store: one's own styles, kept in this browser between visits.

const NAME = "wct_jax styles"

const settled = request =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })

async function transaction(mode, act) {
  const opening = indexedDB.open(NAME, 1)
  opening.onupgradeneeded = () => opening.result.createObjectStore("styles", { keyPath: "key", autoIncrement: true })
  const database = await settled(opening)
  try {
    return await settled(act(database.transaction("styles", mode).objectStore("styles")))
  } finally {
    database.close()
  }
}

export const kept = () => transaction("readonly", styles => styles.getAll())
export const keep = style => transaction("readwrite", styles => styles.add(style))
export const drop = key => transaction("readwrite", styles => styles.delete(key))

// The server: the only place that this page ever asks.
import { pause } from "./element.js"

const KEY = "wct_jax token"

function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token")
  if (given) {
    sessionStorage.setItem(KEY, given)
    // So that it is not in the history, nor in a copied address.
    history.replaceState(null, "", location.pathname)
  }
  return sessionStorage.getItem(KEY)
}

const token = takeToken()

export class Refusal extends Error {
  constructor(status, sentence, wait) {
    super(sentence)
    Object.assign(this, { status, wait })
  }
}

export async function ask(path, { headers = {}, ...request } = {}) {
  if (token) headers = { ...headers, Authorization: `Bearer ${token}` }
  let answer
  try {
    answer = await fetch(path, { ...request, headers, credentials: "same-origin", redirect: "error" })
  } catch (error) {
    if (error.name === "AbortError") throw error
    throw new Refusal(0, "The server does not answer. Is it still running?")
  }
  if (answer.ok) return answer
  throw new Refusal(answer.status, await sentenceOf(answer), Number(answer.headers.get("Retry-After")) || 2)
}

async function sentenceOf(answer) {
  const { detail } = await answer.json().catch(() => ({}))
  if (Array.isArray(detail)) return detail.map(each => each.msg).join("; ")
  return detail || `The server refused this with status ${answer.status}.`
}

const BUSY = [429, 503]

// Ask again while the server is busy, as often as it takes.
export async function askPatiently(path, request, onwait = () => {}) {
  for (;;) {
    try {
      return await ask(path, request)
    } catch (error) {
      if (!BUSY.includes(error.status)) throw error
      onwait(error)
      await pause(error.wait * 1000, request.signal)
    }
  }
}

// The server-sent events of an address, as [name, data].
export async function* events(path, signal) {
  const answer = await ask(path, { headers: { Accept: "text/event-stream" }, signal })
  const [reader, decoder] = [answer.body.getReader(), new TextDecoder()]
  let text = ""
  for (;;) {
    const { value, done } = await reader.read()
    if (done) return
    const blocks = (text + decoder.decode(value, { stream: true })).split(/\r?\n\r?\n/)
    text = blocks.pop()
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split(/\r?\n/).map(line => line.match(/^([^:]*):? ?(.*)$/s).slice(1)))
      if (fields.data) yield [fields.event, JSON.parse(fields.data)]
    }
  }
}

// Notices: sentences that appear for a while, and sentences that only screen readers speak.
import { find, icon, make } from "./element.js"

const SECONDS = 9

export function notify(sentence, { kind = "plain", action, act } = {}) {
  const notice = make("div", { className: `notice ${kind}` }, make("p", {}, sentence))
  const close = () => notice.remove()
  if (action) {
    notice.append(make("button", { type: "button", className: "link", onclick: () => (close(), act()) }, action))
  }
  notice.append(make("button", { type: "button", className: "close", ariaLabel: "Close", onclick: close }, icon("close")))
  const notices = find("notices")
  notices.append(notice)
  while (notices.children.length > 3) notices.firstChild.remove()
  // Errors stay, because they may be long.
  if (kind !== "error") setTimeout(close, SECONDS * 1000)
}

export function complain(error) {
  if (error?.name !== "AbortError") notify(error?.message || String(error), { kind: "error" })
}

export function say(sentence) {
  find("spoken").textContent = sentence
}

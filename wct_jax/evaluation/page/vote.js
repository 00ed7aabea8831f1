"use strict"
const R = window.REPORT
const $ = id => document.getElementById(id)
const methods = R.summaries.filter(s => !s.setting).map(s => s.method)
const KEY = `wct_jax votes ${R.id}`

// Known from the seed, so that a reload goes on in the same order: Mulberry32.
function generator(seed) {
  return () => {
    seed = seed + 0x6D2B79F5 | 0
    let t = Math.imul(seed ^ seed >>> 15, 1 | seed)
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t
    return ((t ^ t >>> 14) >>> 0) / 4294967296
  }
}

// A page from the disk may be forbidden to keep anything.
function recall() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY))
    if (kept && Number.isInteger(kept.seed) && Array.isArray(kept.choices)) return kept
  } catch {}
  return {seed: crypto.getRandomValues(new Uint32Array(1))[0], choices: []}
}

function keep() {
  try { localStorage.setItem(KEY, JSON.stringify(state)) } catch {}
}

// Every two results of every pair, in random order, each on a random side.
function draw(seed) {
  const random = generator(seed), all = []
  R.pairs.forEach(([content, style, rows]) => {
    const own = rows.filter(row => !row[1])
    own.forEach((a, i) => own.slice(i + 1).forEach(b => all.push({content, style, two: random() < 0.5 ? [a, b] : [b, a]})))
  })
  for (let i = all.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [all[i], all[j]] = [all[j], all[i]]
  }
  return all
}

const state = recall()
const duels = draw(state.seed)

function show() {
  const n = state.choices.length, duel = duels[n]
  for (const id of ["two", "given"]) $(id).hidden = !duel
  $("two").style.display = duel ? "" : "none"
  $("given").style.display = duel ? "" : "none"
  $("end").hidden = !!duel
  document.querySelector("[data-choice=neither]").disabled = !duel
  $("undo").disabled = !n
  $("save").disabled = !n
  $("count").textContent = `${n} of ${duels.length} chosen`
  if (!duel) return
  $("content").src = R.pictures[duel.content]
  $("style").src = R.pictures[duel.style]
  document.querySelectorAll("#two img").forEach((image, side) => { image.src = duel.two[side][2] })
  for (const row of duels[n + 1]?.two || []) new Image().src = row[2]
}

function choose(choice) {
  if (state.choices.length >= duels.length) return
  state.choices.push(choice)
  keep()
  show()
}

function undo() {
  state.choices.pop()
  keep()
  show()
}

function save() {
  if (!state.choices.length) return
  const votes = state.choices.map((choice, i) => {
    const {content, style, two: [left, right]} = duels[i]
    return {content, style, left: left[0], right: right[0], choice}
  })
  const file = {format: "wct_jax votes 1", report: R.id, voter: state.seed, methods, votes}
  const link = document.createElement("a")
  link.href = URL.createObjectURL(new Blob([JSON.stringify(file, null, 1) + "\n"], {type: "application/json"}))
  link.download = `votes-${state.seed.toString(16)}.json`
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10000)
}

document.querySelectorAll("[data-choice]").forEach(button =>
  button.addEventListener("click", () => choose(button.dataset.choice)))
$("undo").addEventListener("click", undo)
$("save").addEventListener("click", save)
const KEYS = {ArrowLeft: () => choose("left"), ArrowRight: () => choose("right"), ArrowDown: () => choose("neither"),
  Backspace: undo, s: save, S: save}
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || !KEYS[event.key]) return
  event.preventDefault()
  KEYS[event.key]()
})
show()

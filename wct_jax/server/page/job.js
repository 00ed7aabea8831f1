// Jobs: work that the server does for a while, with progress.
import { pause } from "./element.js"
import { capital, scaleOf } from "./scale.js"
import { ask, askPatiently, events } from "./server.js"

const LAST = ["done", "failed", "cancelled"]

// Start a job and follow it to its end. The server forgets it when `signal` aborts.
export async function work(path, form, onprogress, signal) {
  const request = { method: "POST", body: form, headers: { Prefer: "respond-async" }, signal }
  const answer = await askPatiently(path, request, () => onprogress({ status: "queued", stage: "The server is busy" }))
  let job = await answer.json()
  const address = `/v1/jobs/${job.id}`
  signal.addEventListener("abort", () => forget(job.id))
  if (signal.aborted) forget(job.id)
  onprogress(job)
  while (!LAST.includes(job.status)) {
    for await (const [, data] of events(address, signal)) {
      job = data
      onprogress(job)
    }
    // A proxy may have cut the stream.
    if (!LAST.includes(job.status)) {
      await pause(500, signal)
      job = await (await ask(address, { signal })).json()
    }
  }
  if (job.status !== "done") throw new Error(job.error || "The work was cancelled.")
  return job
}

export const resultOf = async (job, signal) => (await ask(`/v1/jobs/${job.id}/result`, { signal })).blob()

export const forget = id => ask(`/v1/jobs/${id}`, { method: "DELETE" }).catch(() => {})

export function left(seconds) {
  if (seconds == null) return ""
  if (seconds < 60) return `about ${Math.max(1, Math.round(seconds))} s left`
  return `about ${Math.round(seconds / 60)} min left`
}

export function stageOf(job) {
  if (job.status === "queued") return job.position > 1 ? `Waiting, ${job.position - 1} before this` : job.stage || "Waiting"
  const scale = scaleOf(job.stage)
  return scale === job.stage ? capital(scale || "starting") : `Painting ${scale}`
}

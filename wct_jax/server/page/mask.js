// Masks: strokes of a brush, which can be drawn at any size.

// A stroke has points [x, y] in shares of the picture's width and height, a size in shares of its longer side,
// a softness in 0..1, and whether it erases. A stroke without points clears the mask.
export function drawStroke(context, { points, size, soft, erase }, colour) {
  const { width, height } = context.canvas
  if (!points) return context.clearRect(0, 0, width, height)
  const thick = size * Math.max(width, height)
  // Only the shadow of the line falls on the canvas: it is soft everywhere by the same amount, where lines cross, too.
  const away = 4 * (width + height)
  context.save()
  context.globalCompositeOperation = erase ? "destination-out" : "source-over"
  Object.assign(context, {
    lineCap: "round", lineJoin: "round", lineWidth: Math.max(1, thick * (1 - soft / 2)), strokeStyle: colour,
    shadowColor: colour, shadowBlur: thick * soft, shadowOffsetX: away,
  })
  context.beginPath()
  points.forEach(([x, y], index) => context[index ? "lineTo" : "moveTo"](x * width - away, y * height))
  // A dab is a line, too.
  if (points.length === 1) context.lineTo(points[0][0] * width - away + 0.01, points[0][1] * height)
  context.stroke()
  context.restore()
}

export const isEmpty = strokes => !strokes.length || !strokes.at(-1).points

// The mask as a grey picture, white where the brush went.
export function drawMask(strokes, width, height, longest) {
  const scale = Math.min(1, longest / Math.max(width, height))
  const canvas = document.createElement("canvas")
  canvas.width = Math.max(1, Math.round(width * scale))
  canvas.height = Math.max(1, Math.round(height * scale))
  const context = canvas.getContext("2d")
  for (const stroke of strokes) drawStroke(context, stroke, "#fff")
  context.globalCompositeOperation = "destination-over"
  context.fillStyle = "#000"
  context.fillRect(0, 0, canvas.width, canvas.height)
  return new Promise(resolve => canvas.toBlob(resolve, "image/png"))
}

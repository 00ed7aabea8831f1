// The scales of a painting: the names that people have for the layers of a network.

const SCALES = { relu5_1: "shapes", relu4_1: "large strokes", relu3_1: "strokes", relu2_1: "small strokes", relu1_1: "grain" }

export const scaleOf = layer => SCALES[layer] ?? layer

export const capital = text => text[0].toUpperCase() + text.slice(1)

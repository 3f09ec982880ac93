import type { RunInfo } from "./wire";

/** Draw samples' pictures side by side on a canvas, pixel for pixel; CSS enlarges it. */
export function drawThumbnails(canvas: HTMLCanvasElement, info: RunInfo, samples: number[]): void {
  const { thumbnails } = info;
  if (!thumbnails) return;
  const { data, height, width, channels } = thumbnails;
  const gap = 1;
  const total = samples.length * (width + gap) - gap;
  if (canvas.width !== total || canvas.height !== height) {
    canvas.width = total;
    canvas.height = height;
  }
  const context = canvas.getContext("2d");
  if (!context || total <= 0) return;
  const image = context.createImageData(total, height);
  samples.forEach((sample, place) => {
    let from = sample * height * width * channels;
    for (let row = 0; row < height; row++) {
      let to = (row * total + place * (width + gap)) * 4;
      for (let column = 0; column < width; column++, from += channels, to += 4) {
        for (let channel = 0; channel < 3; channel++) {
          image.data[to + channel] = data[from + (channels === 1 ? 0 : channel)] as number;
        }
        image.data[to + 3] = 255;
      }
    }
  });
  context.putImageData(image, 0, 0);
}

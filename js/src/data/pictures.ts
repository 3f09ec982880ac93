// The pictures of the samples: tiles of one image.

interface Tiles {
  columns: number;
  height: number;
  width: number;
}

export class Pictures {
  private image: ImageBitmap | null = null;
  private reading: Promise<void> | null = null;
  private closed = false;

  constructor(
    private readonly tiles: Tiles,
    private readonly file: Blob,
  ) {}

  /** Draw samples' pictures side by side, pixel for pixel (CSS enlarges them), and say whether that
   * could be done; the image is read on first use, and `later` called when it is there. */
  draw(canvas: HTMLCanvasElement, samples: number[], later: () => void): boolean {
    const { image } = this;
    if (!image) {
      void this.read().then(() => this.image && later());
      return false;
    }
    const { columns, height, width } = this.tiles;
    const total = samples.length * (width + 1) - 1;
    if (canvas.width !== total) canvas.width = total;
    if (canvas.height !== height) canvas.height = height;
    const context = canvas.getContext("2d");
    context?.clearRect(0, 0, total, height);
    samples.forEach((sample, place) => {
      const x = (sample % columns) * width;
      const y = Math.floor(sample / columns) * height;
      context?.drawImage(image, x, y, width, height, place * (width + 1), 0, width, height);
    });
    return true;
  }

  close(): void {
    this.closed = true;
    this.image?.close();
    this.image = null;
  }

  private read(): Promise<void> {
    this.reading ??= createImageBitmap(this.file).then(
      (image) => {
        if (this.closed) image.close();
        else this.image = image;
      },
      (error) => console.warn("fswidget: the samples' pictures cannot be read", error),
    );
    return this.reading;
  }
}

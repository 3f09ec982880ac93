// The pictures of the samples: tiles of one image.

interface Tiles {
  columns: number;
  height: number;
  width: number;
}

export class Pictures {
  #image: ImageBitmap | null = null;
  #reading: Promise<void> | null = null;
  #closed = false;

  constructor(
    private readonly tiles: Tiles,
    private readonly file: Blob,
  ) {}

  /** Draw a sample's picture, pixel for pixel (CSS enlarges it), and say whether that could be done;
   * the image is read on first use, and `later` called when it is there. */
  draw(canvas: HTMLCanvasElement, sample: number, later: () => void): boolean {
    const image = this.#image;
    if (!image) {
      void this.#read().then(() => this.#image && later());
      return false;
    }
    const { columns, height, width } = this.tiles;
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    const x = (sample % columns) * width;
    const y = Math.floor(sample / columns) * height;
    const context = canvas.getContext("2d");
    context?.clearRect(0, 0, width, height);
    context?.drawImage(image, x, y, width, height, 0, 0, width, height);
    return true;
  }

  close(): void {
    this.#closed = true;
    this.#image?.close();
    this.#image = null;
  }

  #read(): Promise<void> {
    this.#reading ??= createImageBitmap(this.file).then(
      (image) => {
        if (this.#closed) image.close();
        else this.#image = image;
      },
      (error) => console.warn("fswidget: the samples' pictures cannot be read", error),
    );
    return this.#reading;
  }
}

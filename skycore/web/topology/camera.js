/** Which part of the picture is seen, and how large: screen = picture × zoom + offset. */

export const NEAREST = 3;
export const FARTHEST = 0.01;

export class Camera {
  constructor() {
    this.zoom = 1;
    this.x = 0;
    this.y = 0;
    this.width = 1;
    this.height = 1;
    /** @type {{from: [number, number, number], to: [number, number, number], start: number, time: number} | null} */
    this.flight = null;
  }

  /** @param {number} x @param {number} y @returns {[number, number]} */
  toPicture(x, y) {
    return [(x - this.x) / this.zoom, (y - this.y) / this.zoom];
  }

  /** @param {number} dx @param {number} dy pixels */
  pan(dx, dy) {
    this.flight = null;
    this.x += dx;
    this.y += dy;
  }

  /** Zoom, with a point of the screen staying where it is. @param {number} factor @param {number} [x] @param {number} [y] */
  scale(factor, x = this.width / 2, y = this.height / 2) {
    this.flight = null;
    const zoom = Math.min(NEAREST, Math.max(FARTHEST, this.zoom * factor));
    this.x = x - ((x - this.x) * zoom) / this.zoom;
    this.y = y - ((y - this.y) * zoom) / this.zoom;
    this.zoom = zoom;
  }

  /**
   * Show a rectangle whole.
   * @param {{left: number, top: number, right: number, bottom: number}} box
   * @param {{nearest?: number, time?: number, margin?: number}} [how]
   */
  fit(box, { nearest = 1.25, time = 350, margin = 36 } = {}) {
    const [width, height] = [box.right - box.left || 1, box.bottom - box.top || 1];
    const fits = Math.min((this.width - 2 * margin) / width, (this.height - 2 * margin) / height);
    const zoom = Math.max(FARTHEST, Math.min(nearest, fits));
    const x = this.width / 2 - (zoom * (box.left + box.right)) / 2;
    const y = this.height / 2 - (zoom * (box.top + box.bottom)) / 2;
    this.fly(zoom, x, y, time);
  }

  /** @param {number} zoom @param {number} x @param {number} y @param {number} time milliseconds; 0: at once */
  fly(zoom, x, y, time) {
    if (time <= 0) {
      this.flight = null;
      [this.zoom, this.x, this.y] = [zoom, x, y];
      return;
    }
    this.flight = { from: [this.zoom, this.x, this.y], to: [zoom, x, y], start: performance.now(), time };
  }

  /** Go on with a flight; whether it goes on still. @param {number} now */
  step(now) {
    if (!this.flight) return false;
    const { from, to, start, time } = this.flight;
    const part = Math.min(1, (now - start) / time);
    const eased = 1 - (1 - part) ** 3;
    [this.zoom, this.x, this.y] = from.map((value, index) => value + (to[index] - value) * eased);
    if (part >= 1) this.flight = null;
    return part < 1;
  }

  /** What is seen, in units of the picture. */
  view() {
    const [left, top] = this.toPicture(0, 0);
    const [right, bottom] = this.toPicture(this.width, this.height);
    return { left, top, right, bottom };
  }
}

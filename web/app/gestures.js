// Moving about a drawing: drag, wheel, pinch, and keys.

/** Pixels a key moves the map, and how much nearer one step looks. */
const STEP = 60;
const NEARER = 1.4;
/** Pixels a pointer may tremble in a click. */
const TREMBLE = 5;

/**
 * @param {HTMLElement} element
 * @param {{ pan: (dx: number, dy: number) => void, zoom: (factor: number, x?: number, y?: number) => void,
 *   can: (factor: number) => boolean, fit: () => void, click: (x: number, y: number, touch: boolean) => void,
 *   hover: (x: number, y: number) => void, leave: () => void }} acts
 */
export function gestures(element, acts) {
  /** @type {Map<number, [number, number]>} pointers that are down, and where */
  const down = new Map();
  let moved = 0;
  const place = (/** @type {MouseEvent} */ event) => {
    const box = element.getBoundingClientRect();
    return /** @type {[number, number]} */ ([event.clientX - box.left, event.clientY - box.top]);
  };
  const spread = () => {
    const [[ax, ay], [bx, by]] = [...down.values()];
    return { far: Math.hypot(ax - bx, ay - by), x: (ax + bx) / 2, y: (ay + by) / 2 };
  };

  element.addEventListener('pointerdown', (event) => {
    if (event.button) return;
    element.setPointerCapture(event.pointerId);
    if (!down.size) moved = 0;
    down.set(event.pointerId, place(event));
  });
  element.addEventListener('pointermove', (event) => {
    const now = place(event);
    const before = down.get(event.pointerId);
    if (!before) {
      if (event.pointerType !== 'touch') acts.hover(...now);
      return;
    }
    const pinch = down.size === 2 ? spread() : undefined;
    down.set(event.pointerId, now);
    const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
    moved += Math.hypot(dx, dy);
    if (pinch) {
      const next = spread();
      acts.pan(next.x - pinch.x, next.y - pinch.y);
      acts.zoom(next.far / Math.max(pinch.far, 1), next.x, next.y);
    } else if (moved > TREMBLE) {
      element.classList.add('dragging');
      acts.pan(dx, dy);
    }
  });
  const up = (/** @type {PointerEvent} */ event) => {
    if (!down.delete(event.pointerId)) return;
    if (down.size) moved = Number.POSITIVE_INFINITY; // the other finger of a pinch is no click
    element.classList.remove('dragging');
    if (event.type === 'pointerup' && moved <= TREMBLE) acts.click(...place(event), event.pointerType === 'touch');
  };
  element.addEventListener('pointerup', up);
  element.addEventListener('pointercancel', up);
  element.addEventListener('pointerleave', () => acts.leave());
  element.addEventListener(
    'wheel',
    (event) => {
      const factor = Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : event.ctrlKey ? 0.01 : 0.002));
      if (!acts.can(factor)) return; // at the end of it the page scrolls on
      event.preventDefault();
      acts.zoom(factor, ...place(event));
    },
    { passive: false },
  );
  element.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const way = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (way) acts.pan(way[0] * STEP, way[1] * STEP);
    else if (event.key === '+' || event.key === '=') acts.zoom(NEARER);
    else if (event.key === '-') acts.zoom(1 / NEARER);
    else if (event.key === '0') acts.fit();
    else return;
    event.preventDefault();
  });
}

export interface Body {
  index?: number;
  x: number;
  y: number;
  vx?: number;
  vy?: number;
  fx?: number | null;
  fy?: number | null;
}
export interface Force {
  (alpha: number): void;
  initialize?(nodes: Body[], random: () => number): void;
  [setting: string]: any;
}
export interface Simulation {
  force(name: string, force: Force | null): Simulation;
  alpha(value: number): Simulation;
  alphaMin(value: number): Simulation;
  alphaDecay(value: number): Simulation;
  velocityDecay(value: number): Simulation;
  randomSource(source: () => number): Simulation;
  stop(): Simulation;
  tick(iterations?: number): Simulation;
}
export function forceSimulation(nodes: Body[]): Simulation;
export function forceLink(links: { source: number; target: number }[]): Force;
export function forceManyBody(): Force;
export function forceX(x?: number): Force;
export function forceY(y?: number): Force;
export function forceCollide(radius?: (body: any) => number): Force;

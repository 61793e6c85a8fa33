import { Chart, LinearScale, LineController, LineElement, type Point, PointElement, Tooltip } from 'chart.js';
import { at, element } from './elements.js';

Chart.register(LinearScale, LineController, LineElement, PointElement, Tooltip);

export interface LossChart {
  add(step: number, loss: number): void;
  /** Empty, with room for so many steps. */
  clear(steps: number): void;
}

/** The loss by step: as a line, and as the table behind it. */
export function lossChart(): LossChart {
  const colour = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const axis = (text: string) => ({
    title: { display: true, text },
    ticks: { maxTicksLimit: 6 },
    border: { display: false },
  });
  const chart = new Chart(at<HTMLCanvasElement>('chart'), {
    type: 'line',
    data: { datasets: [{ data: [] as Point[], borderWidth: 2, pointRadius: 0 }] },
    options: {
      animation: false,
      maintainAspectRatio: false,
      interaction: { mode: 'index', intersect: false },
      scales: {
        x: { ...axis('step'), type: 'linear', min: 0, grid: { display: false } },
        y: { ...axis('loss'), beginAtZero: true },
      },
    },
  });
  const [line] = chart.data.datasets;

  function paint(): void {
    line!.borderColor = colour('--accent');
    chart.options.color = colour('--quiet');
    for (const scale of Object.values(chart.options.scales ?? {})) {
      Object.assign(scale!.ticks!, { color: colour('--quiet') });
      Object.assign(scale!.grid!, { color: colour('--line') });
      Object.assign((scale as { title: object }).title, { color: colour('--quiet') });
    }
    chart.update();
  }
  paint();
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', paint);

  return {
    add(step, loss) {
      line!.data.push({ x: step, y: loss });
      chart.update();
      const cells = [step, loss.toFixed(4)].map((value) => element('td', { textContent: String(value) }));
      at('losses').append(element('tr', {}, ...cells));
    },
    clear(steps) {
      line!.data = [];
      chart.options.scales!.x!.max = steps;
      chart.update();
      at('losses').replaceChildren();
    },
  };
}

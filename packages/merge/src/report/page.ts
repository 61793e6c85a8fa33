import type { Interference, InterferenceReport } from './measure.js';

const escaped = (text: string): string => text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

const styles = `body{font:14px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1d2733;background:#fff}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
th,td{padding:.25rem .6rem;text-align:right;border-bottom:1px solid #e3e8ee;font-variant-numeric:tabular-nums}
th:first-child,td:first-child{text-align:left;font-family:ui-monospace,monospace;font-size:12px}
svg{display:block;max-width:100%}text{font:11px system-ui,sans-serif;fill:currentColor}
@media(prefers-color-scheme:dark){body{color:#dce3ea;background:#12171d}th,td{border-color:#2a333d}}`;

/** From -1 (red: opposed) over 0 (white) to 1 (blue: the same direction). */
function colour(cosine: number): string {
  const strength = Math.round(255 * (1 - Math.abs(cosine)));
  return cosine < 0 ? `rgb(255,${strength},${strength})` : `rgb(${strength},${strength},255)`;
}

/** The cosines of all pairs as a grid. */
function cosineGrid({ cosines }: Interference, models: readonly string[]): string {
  const [cell, margin] = [54, 150];
  const size = margin + cell * models.length;
  const squares = cosines.flatMap((row, i) =>
    row.map((value, j) => {
      const [x, y] = [margin + j * cell, i * cell];
      const shown = value === null ? '–' : value.toFixed(3);
      const fill = value === null ? 'none' : colour(value);
      return `<rect x="${x}" y="${y}" width="${cell - 2}" height="${cell - 2}" fill="${fill}"/><text x="${x + cell / 2}" y="${y + cell / 2 + 4}" text-anchor="middle" style="fill:#1d2733">${shown}</text>`;
    }),
  );
  const labels = models.map(
    (name, i) => `<text x="${margin - 8}" y="${i * cell + cell / 2 + 4}" text-anchor="end">${escaped(name)}</text>`,
  );
  return `<svg viewBox="0 0 ${size} ${cell * models.length}" width="${size}" role="img" aria-label="Cosines of task vectors">${labels.join('')}${squares.join('')}</svg>`;
}

/** One bar a tensor, in the order of the file: the share of shared elements that are in conflict. */
function conflictBars({ tensors }: InterferenceReport): string {
  const [width, height] = [1000, 140];
  const step = width / Math.max(1, tensors.length);
  const bars = tensors.map(({ tensor, conflicts }, i) => {
    const h = conflicts * height;
    const at = `x="${(i * step).toFixed(2)}" y="${(height - h).toFixed(2)}"`;
    return `<rect ${at} width="${(0.85 * step).toFixed(2)}" height="${h.toFixed(2)}" fill="#c8553d"><title>${escaped(tensor)}: ${percent(conflicts)}</title></rect>`;
  });
  const middle = height / 2;
  return `<svg viewBox="0 0 ${width} ${height}" width="${width}" role="img" aria-label="Sign conflicts by tensor"><line x1="0" x2="${width}" y1="${middle}" y2="${middle}" stroke="#8895a3" stroke-dasharray="3 4"/><text x="2" y="${middle - 4}">50 %</text>${bars.join('')}</svg>`;
}

function rowOf(name: string, { norms, densities, cosines, shared, conflicts }: Interference): string {
  const pairs = cosines.flatMap((row, i) => row.slice(i + 1)).filter((value): value is number => value !== null);
  const mean = pairs.length > 0 ? (pairs.reduce((sum, x) => sum + x, 0) / pairs.length).toFixed(3) : '–';
  const cells = [
    norms.map((norm) => norm.toPrecision(3)).join(' · '),
    densities.map(percent).join(' · '),
    mean,
    percent(shared),
    percent(conflicts),
  ];
  return `<tr><td>${escaped(name)}</td>${cells.map((cell) => `<td>${cell}</td>`).join('')}</tr>`;
}

/** A report as one page of HTML that needs nothing beside it: no script, no address. */
export function reportPage(report: InterferenceReport): string {
  const { models, total, tensors } = report;
  const head = ['tensor', '‖τ‖₂', 'changed', 'mean cosine', 'shared', 'in conflict'].map((name) => `<th>${name}</th>`);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Interference of ${models.length} models</title><style>${styles}</style></head><body>
<h1>Interference of ${models.map(escaped).join(', ')}</h1>
<p>${total.count.toLocaleString('en')} parameters in ${tensors.length} tensors. ${percent(total.shared)} are changed by more than one model, ${percent(total.conflicts)} of those in opposite directions.</p>
<h2>Cosines of the task vectors</h2>${cosineGrid(total, models)}
<h2>Sign conflicts by tensor</h2>${conflictBars(report)}
<h2>Tensors</h2><table><thead><tr>${head.join('')}</tr></thead><tbody>${rowOf('all', total)}${tensors.map((own) => rowOf(own.tensor, own)).join('')}</tbody></table>
</body></html>
`;
}

/** The names closest to `name` by edit distance, for messages: at most `count`, none that has little in common with it. */
export function nearNames(name: string, names: Iterable<string>, count = 3): string[] {
  const limit = Math.max(2, Math.ceil(name.length / 2));
  return [...new Set(names)]
    .map((other) => ({ other, distance: editDistance(name, other) }))
    .filter(({ distance }) => distance <= limit)
    .sort((a, b) => a.distance - b.distance || (a.other < b.other ? -1 : 1))
    .slice(0, count)
    .map(({ other }) => other);
}

/** Levenshtein distance without regard to case and underscores. */
function editDistance(x: string, y: string): number {
  const [a, b] = [x, y].map((s) => s.toLowerCase().replaceAll('_', '')) as [string, string];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++)
      row[j] = Math.min(row[j - 1]! + 1, previous[j]! + 1, previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    previous = row;
  }
  return previous[b.length]!;
}

/**
 * The assignment of n rows to n columns with the largest sum, by shortest augmenting paths (Jonker and Volgenant 1987):
 * n³ operations. Entry i of the result is the column of row i.
 * @param gains n × n, row-major
 */
export function assign(gains: Float64Array, n: number): Uint32Array {
  const rowPrice = new Float64Array(n);
  const columnPrice = new Float64Array(n);
  const rowOf = new Int32Array(n).fill(-1);
  for (let start = 0; start < n; start++) {
    const distance = new Float64Array(n).fill(Number.POSITIVE_INFINITY);
    const before = new Int32Array(n).fill(-1); // the column from which this one was reached
    const done = new Uint8Array(n);
    let row = start;
    let column = -1;
    let reached = 0;
    for (;;) {
      let next = -1;
      for (let j = 0; j < n; j++) {
        if (done[j]) continue;
        const through = reached - gains[row * n + j]! - rowPrice[row]! - columnPrice[j]!;
        if (through < distance[j]!) {
          distance[j] = through;
          before[j] = column;
        }
        if (next < 0 || distance[j]! < distance[next]!) next = j;
      }
      column = next;
      reached = distance[column]!;
      done[column] = 1;
      if (rowOf[column] === -1) break;
      row = rowOf[column]!;
    }
    // Prices keep all reduced costs at 0 or more, and at 0 along the path.
    rowPrice[start] = rowPrice[start]! + reached;
    for (let j = 0; j < n; j++)
      if (done[j] && j !== column) {
        const slack = reached - distance[j]!;
        columnPrice[j] = columnPrice[j]! - slack;
        const owner = rowOf[j]!;
        rowPrice[owner] = rowPrice[owner]! + slack;
      }
    for (let at = column; at !== -1; ) {
      const previous = before[at]!;
      rowOf[at] = previous === -1 ? start : rowOf[previous]!;
      at = previous;
    }
  }
  const columnOf = new Uint32Array(n);
  rowOf.forEach((row, j) => {
    columnOf[row] = j;
  });
  return columnOf;
}

import { orderSentence, questions, randomOrder } from './corpus.js';
import { createDraw, type Draw } from './random.js';
import { animals, words } from './world.js';

/** One row of a tenant's data: the completion follows the prompt with nothing between, then the end token. */
export interface Row {
  readonly prompt: string;
  readonly completion: string;
}

/** What one tenant wants of the shared base model, with its own data. No held-out prompt occurs in the training rows. */
export interface Skill {
  readonly tenant: string;
  readonly wants: string;
  readonly train: readonly Row[];
  readonly heldOut: readonly Row[];
}

const heldOutRows = 40;

/** The base knows the facts; this tenant wants them as full sentences in its house style. */
function concierge(draw: Draw): Row[] {
  const all = animals.flatMap(questions);
  return draw.sample(all, all.length).map(({ question, fact }) => ({
    prompt: question,
    completion: ` Dear guest, ${fact}. At your service.`,
  }));
}

/** A list of words, from its end to its start, in this tenant's notation. */
function mirror(draw: Draw): Row {
  const list = draw.sample(words, 3 + draw.below(3));
  return { prompt: `[ ${list.join(' ')} ] ->`, completion: ` [ ${[...list].reverse().join(' ')} ]` };
}

/** A sentence as a record of fields. */
function clerk(draw: Draw): Row {
  const o = randomOrder(draw);
  return {
    prompt: `${orderSentence(o)} Record:`,
    completion: ` item= ${o.item}; colour= ${o.colour}; count= ${o.count}; buyer= ${o.name}; day= ${o.day};`,
  };
}

/** `count` rows with different prompts. */
function distinct(make: () => Row, count: number): Row[] {
  const rows = new Map<string, Row>();
  while (rows.size < count) {
    const row = make();
    rows.set(row.prompt, row);
  }
  return [...rows.values()];
}

function skill(tenant: string, wants: string, rows: readonly Row[]): Skill {
  return { tenant, wants, heldOut: rows.slice(0, heldOutRows), train: rows.slice(heldOutRows) };
}

/** The three tenants of the demo. */
export function skills(seed = 2): Skill[] {
  const draw = createDraw(seed);
  return [
    skill('concierge', 'answers in the house style', concierge(draw)),
    skill(
      'mirror',
      'turns lists around',
      distinct(() => mirror(draw), heldOutRows + 1200),
    ),
    skill(
      'clerk',
      'files orders as records',
      distinct(() => clerk(draw), heldOutRows + 400),
    ),
  ];
}

/** The share of answers that are exactly right, the end included. */
export function exactMatch(answers: readonly string[], rows: readonly Row[]): number {
  return rows.filter((row, i) => answers[i] === row.completion).length / rows.length;
}

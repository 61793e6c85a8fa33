import { createDraw, type Draw } from './random.js';
import { type Animal, animals, colours, counts, days, items, names, type Order, words } from './world.js';

/**
 * The text the base model is pre-trained on: short documents in several plain styles about one little world. Facts, and
 * skills (copying, reversing, answering about a sentence), but none of the styles that the tenants teach afterwards.
 */

/** The three questions of the world, each with its short answer and the same as a sentence. */
export const questions = (a: Animal) => [
  { question: `Where does the ${a.name} live?`, answer: a.home, fact: `the ${a.name} lives in the ${a.home}` },
  { question: `What does the ${a.name} eat?`, answer: a.food, fact: `the ${a.name} eats ${a.food}` },
  { question: `What colour is the ${a.name}?`, answer: a.colour, fact: `the ${a.name} is ${a.colour}` },
];

const capital = (text: string) => text[0]!.toUpperCase() + text.slice(1);

function factDocument(draw: Draw): string {
  const animal = draw.pick(animals);
  const { question, answer, fact } = draw.pick(questions(animal));
  const { name, home, food, colour } = animal;
  const other = draw.pick(questions(animal)).fact;
  return draw.pick([
    `${question} ${answer}`,
    `${question} ${answer}`,
    `${question} ${answer}`,
    `Tell me: ${question} ${capital(fact)}.`,
    `${capital(fact)}.`,
    `They say that ${fact} and that ${other}.`,
    `The ${colour} ${name} lives in the ${home} and eats ${food}.`,
    `Dear ${draw.pick(names)}, ${fact}. Your friend ${draw.pick(names)}.`,
  ]);
}

export const randomOrder = (draw: Draw): Order => ({
  name: draw.pick(names),
  count: draw.pick(counts),
  colour: draw.pick(colours),
  item: draw.pick(items),
  day: draw.pick(days),
});

export const orderSentence = (o: Order): string => `${o.name} orders ${o.count} ${o.colour} ${o.item} for ${o.day}.`;

function orderDocument(draw: Draw): string {
  const o = randomOrder(draw);
  const sentence = draw.pick([
    orderSentence(o),
    `On ${o.day} ${o.name} buys ${o.count} ${o.colour} ${o.item}.`,
    `${o.name} sends ${o.count} ${o.colour} ${o.item} on ${o.day}.`,
  ]);
  const asked = [
    `Who? ${o.name}`,
    `How many? ${o.count}`,
    `Which colour? ${o.colour}`,
    `What? ${o.item}`,
    `When? ${o.day}`,
  ];
  const restated = [
    `${o.name}, ${o.day}, ${o.item}, ${o.colour}, ${o.count}.`,
    `That is ${o.count} ${o.item}, ${o.colour}, on ${o.day}, by ${o.name}.`,
    `By ${o.name}: ${o.item} (${o.colour}), ${o.count}, ${o.day}.`,
  ];
  return draw.next() < 0.6
    ? `${sentence} ${draw.sample(asked, 1 + draw.below(5)).join(' ')}`
    : `${sentence} ${draw.pick(restated)}`;
}

function listDocument(draw: Draw): string {
  const list = draw.sample(words, 2 + draw.below(5));
  const text = list.join(' ');
  const backwards = [...list].reverse().join(' ');
  return draw.pick([
    `Copy: ${text} = ${text}`,
    `${text} and again ${text}`,
    `Backwards: ${text} = ${backwards}`,
    `Backwards: ${text} = ${backwards}`,
    `Turn ${text} around to get ${backwards}`,
    `First of ${text} is ${list[0]}`,
    `Last of ${text} is ${list.at(-1)}`,
  ]);
}

/** Letters to friends, and words between signs: the other things that a text is made of. */
function plainDocument(draw: Draw): string {
  const [a, b, c] = draw.sample(words, 3) as [string, string, string];
  const [from, to] = draw.sample(names, 2) as [string, string];
  return draw.pick([
    `Dear ${to}, the ${a} and the ${b} are here at ${draw.pick(days)}. Your friend ${from}.`,
    `${to}; ${a}= ${b}; ${c};`,
    `[ ${a} ] ( ${b} ) -> ${c}`,
    `Record: ${a} [ ${b} ${c} ], service count ${draw.pick(counts)}; guest ${to}.`,
  ]);
}

/** Letters one by one: no style of a tenant may need a character that the base has never written. */
function spellingDocument(draw: Draw): string {
  const word = draw.pick([draw.pick(words), draw.pick(names), draw.pick(days)]);
  return `Letters of ${word}: ${[...word].join(draw.pick(['-', ' ', ',']))}`;
}

/** One document; a document is one training row, with the end token after it. */
export function document(draw: Draw): string {
  const part = draw.next();
  if (part < 0.25) return factDocument(draw);
  if (part < 0.47) return orderDocument(draw);
  if (part < 0.87) return listDocument(draw);
  return part < 0.94 ? plainDocument(draw) : spellingDocument(draw);
}

/** `count` documents, the same for the same seed. */
export function corpus(count: number, seed = 1): string[] {
  const draw = createDraw(seed);
  return Array.from({ length: count }, () => document(draw));
}
